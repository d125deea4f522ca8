//! Portcullis: a reverse-proxy authentication gateway.
//!
//! The life of a request: a worker of [`proxy`] accepts it and hands its head to the [`gate`], which finds the route,
//! the credential, the issuer and its key, and answers with an [`gate::Admission`] or a [`rejection::Rejection`].
//! Admitted, it goes upstream with the caller's [`identity`]; refused, it is answered, counted and logged under the
//! name of its reason. [`keys`] and [`revocation`] are what the gate reads and the control plane writes; [`app`]
//! builds it all from a [`config`].

pub mod cli;

pub mod app;

pub mod admin;
pub mod proxy;

pub mod gate;

pub mod keys;
pub mod revocation;

pub mod config;
pub mod telemetry;

pub mod algorithm;
pub mod counter;
pub mod identity;
pub mod rejection;
pub mod request_id;
pub mod time;
pub mod tls;
