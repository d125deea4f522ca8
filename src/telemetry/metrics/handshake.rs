//! Why TLS with a client did not come about: the closed set of a label.

/// Why a client's TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    Timeout,
    /// The client left in the middle.
    Connection,
    /// What the client sent is no TLS that we speak.
    Protocol,
    /// The client ended it by an alert: most often it does not trust our certificate.
    RefusedByClient,
    ClientCertificateMissing,
    ClientCertificateExpired,
    ClientCertificate,
}

impl HandshakeFailure {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Protocol => "protocol",
            Self::RefusedByClient => "refused_by_client",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::ClientCertificateExpired => "client_certificate_expired",
            Self::ClientCertificate => "client_certificate_invalid",
        }
    }
}
