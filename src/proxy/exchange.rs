//! One request and its answer, as metrics and log see them.
//!
//! Owns the one count and the one record of each request: whatever becomes of it, they are made when the exchange is dropped,
//! which is when the response has been handed over or broke off.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use tokio::time::Instant;

use crate::config::{RouteId, UpstreamId};
use crate::gate::{Admission, Rejected};
use crate::identity::{Identity, IssuerId, IssuerLabel, TokenDigest};
use crate::rejection::Rejection;
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::telemetry::{AccessRecord, UpstreamErrorKind};
use crate::time::UnixTime;

use super::Proxy;
use super::activity::OpenRequest;
use super::body::{ResponseBody, UpstreamBody};
use super::forwarding::{Origin, Peer};
use super::response::{Circumstances, close_after};
use super::worker::{View, Worker};

/// What the log says of a request whose client left before it got an answer.
const CLIENT_LEFT: u16 = 499;
/// What the log says of a request that the end of a drain cut off before it got an answer.
const CUT_OFF: u16 = 503;
/// What the log says of a request on which this program failed.
const FAILED: u16 = 500;

/// A request on its way through.
#[derive(Debug)]
pub(super) struct Exchange {
    worker: Rc<Worker>,
    view: Rc<View>,
    /// Keeps the connection's time limits off.
    open: OpenRequest,
    id: RequestId,
    peer: Rc<Peer>,
    client: IpAddr,
    begun: Instant,
    /// The wall clock at that moment.
    begun_at: UnixTime,
    /// The last step that was timed.
    last: Instant,
    line: Option<RequestLine>,
    is_head: bool,
    has_origin: bool,
    status: Option<u16>,
    route: Option<RouteId>,
    issuer: IssuerLabel,
    token: Option<TokenDigest>,
    identity: Option<Arc<Identity>>,
    reason: Option<Rejection>,
    would_reject: Option<Rejection>,
    upstream: Option<(UpstreamId, Option<Duration>)>,
}

/// Kept only where access is logged. Never the query.
#[derive(Debug)]
struct RequestLine {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
}

impl Exchange {
    /// Begins with a request's head.
    pub(super) fn begin(
        proxy: &Proxy,
        view: &Rc<View>,
        open: OpenRequest,
        head: &Parts,
        origin: &Origin,
    ) -> Box<Self> {
        let line = || RequestLine {
            method: head.method.clone(),
            uri: head.uri.clone(),
            host: head.headers.get(HOST).cloned(),
        };
        let begun = Instant::now();
        Box::new(Self {
            worker: Rc::clone(&proxy.worker),
            view: Rc::clone(view),
            open,
            id: RequestId::of(&head.headers),
            peer: Rc::clone(&proxy.peer),
            client: origin.client,
            begun,
            begun_at: proxy.worker.now(),
            last: begun,
            line: view.snapshot.logs_access.then(line),
            is_head: head.method == Method::HEAD,
            has_origin: head.headers.contains_key(ORIGIN),
            status: None,
            route: None,
            issuer: IssuerLabel::None,
            token: None,
            identity: None,
            reason: None,
            would_reject: None,
            upstream: None,
        })
    }

    /// The request's name.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// What time it was when the request came.
    pub(super) fn wall_clock(&self) -> UnixTime {
        self.begun_at
    }

    /// The time since the last step; this one is the last now.
    fn step(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.last, now))
    }

    /// The gate let the request in. What would have been refused counts as that alone.
    pub(super) fn admitted(&mut self, admission: &Admission) {
        let took = self.step();
        self.route = Some(admission.route());
        self.issuer = admission.issuer();
        self.token = admission.token();
        self.would_reject = admission.would_reject();
        self.identity = admission.identity().map(Arc::clone);
        let metrics = &self.view.snapshot.metrics;
        match admission.would_reject() {
            Some(reason) => metrics.would_reject(admission.route(), admission.issuer(), reason),
            None => {
                metrics.admission(admission.route(), admission.issuer(), admission.via(), took);
            }
        }
    }

    /// An upstream is asked, from that moment on.
    pub(super) fn asked(&mut self, upstream: UpstreamId) -> Instant {
        self.upstream = Some((upstream, None));
        self.last
    }

    /// The upstream's response head has come.
    pub(super) fn answered(&mut self, upstream: UpstreamId) {
        let took = self.step();
        self.upstream = Some((upstream, Some(took)));
        self.view.snapshot.metrics.upstream(upstream, took);
    }

    /// The upstream broke off in the middle of its response: too late for another answer, but not for count and record.
    pub(super) fn broke_off(&mut self) {
        let metrics = &self.view.snapshot.metrics;
        if let Some((upstream, _)) = self.upstream
            && self.reason.is_none()
        {
            metrics.upstream_error(upstream, UpstreamErrorKind::Reset);
            metrics.rejection(self.route, self.issuer, Rejection::UpstreamUnreachable);
            self.reason = Some(Rejection::UpstreamUnreachable);
        }
    }

    /// A rejection of this admitted request: the upstream's fault, or that of the body.
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "it stands beside the gate's own, which are boxed"
    )]
    pub(super) fn rejected(&self, reason: Rejection) -> Box<Rejected> {
        Box::new(Rejected {
            reason,
            route: self.route,
            issuer: self.issuer,
            token: self.token,
            identity: None,
            allow: None,
            retry_after: None,
            preflight: false,
        })
    }

    /// The answer to a rejected request.
    pub(super) fn refuse(mut self: Box<Self>, rejected: &Rejected) -> Response<ResponseBody> {
        self.note_rejection(rejected);
        let snapshot = &self.view.snapshot;
        let is_cross_origin = rejected
            .route
            .and_then(|route| snapshot.route(route))
            .is_some_and(|rule| rule.is_cross_origin);
        let circumstances = Circumstances {
            closing: self.ends_connection(),
            cross_origin: self.has_origin && is_cross_origin,
        };
        let headers = self.view.recycled().take();
        let answers = &snapshot.answers;
        let answer = answers.answer(rejected, &self.id, circumstances, headers);
        self.hand_over(answer)
    }

    /// An answer of ours to a request that was not to be forwarded.
    pub(super) fn answer(self: Box<Self>, mut answer: Response<Bytes>) -> Response<ResponseBody> {
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_REQUEST_ID, self.id.header());
        if self.ends_connection() {
            close_after(headers);
        }
        self.hand_over(answer)
    }

    fn hand_over(mut self: Box<Self>, answer: Response<Bytes>) -> Response<ResponseBody> {
        self.status = Some(answer.status().as_u16());
        let is_head = self.is_head;
        let (mut head, text) = answer.into_parts();
        if is_head {
            // The length that GET would have been told (RFC 9110 §9.3.2).
            let length = HeaderValue::from(text.len());
            head.headers.insert(http::header::CONTENT_LENGTH, length);
        }
        let text = Some(text).filter(|text: &Bytes| !is_head && !text.is_empty());
        Response::from_parts(head, ResponseBody::answer(text, self))
    }

    /// A token was read from the request's body.
    pub(super) fn name_token(&mut self, issuer: IssuerId, token: TokenDigest) {
        self.issuer = IssuerLabel::Known(issuer);
        self.token = Some(token);
    }

    /// Counts a rejection; the record will have it.
    pub(super) fn note_rejection(&mut self, rejected: &Rejected) {
        self.route = rejected.route;
        self.issuer = rejected.issuer;
        self.token = rejected.token;
        self.reason = Some(rejected.reason);
        if let Some(identity) = &rejected.identity {
            self.identity = Some(Arc::clone(identity));
        }
        let metrics = &self.view.snapshot.metrics;
        metrics.rejection(rejected.route, rejected.issuer, rejected.reason);
    }

    /// Its connection cannot serve another request, or shall not.
    fn ends_connection(&self) -> bool {
        !self.open.has_company() && (self.worker.is_closing() || self.open.has_unread_body())
    }

    /// The upstream's response, as the client gets it.
    pub(super) fn respond(
        mut self: Box<Self>,
        response: Response<UpstreamBody>,
    ) -> Response<ResponseBody> {
        let (mut head, body) = response.into_parts();
        head.headers.insert(X_REQUEST_ID, self.id.header());
        if self.worker.is_closing() && !self.open.has_company() {
            close_after(&mut head.headers);
        }
        self.status = Some(head.status.as_u16());
        Response::from_parts(head, ResponseBody::upstream(body, self))
    }

    fn log(&self, line: &RequestLine, status: u16, took: Duration) {
        let metrics = &self.view.snapshot.metrics;
        let host = line.uri.authority().map(http::uri::Authority::as_str);
        let host = host.or_else(|| line.host.as_ref()?.to_str().ok());
        // What stands before an `@` may be a password. Such a host is refused, and recorded all the same.
        let host = host.and_then(|host| host.rsplit('@').next());
        let upstream = self.upstream.map(|(id, _)| metrics.upstream_name(id));
        let now = self.begun_at.plus(took);
        let record = AccessRecord {
            request_id: self.id.as_str(),
            client: self.client,
            client_text: &self.peer.text_of(self.client),
            host: host.unwrap_or_default(),
            path: line.uri.path(),
            method: line.method.as_str(),
            route: metrics.route_name(self.route),
            status,
            duration_us: micros(took),
            issuer: metrics.issuer_name(self.issuer),
            subject: self.identity.as_ref().and_then(|it| it.subject.as_deref()),
            token: self.token,
            reason: self.reason,
            would_reject: self.would_reject,
            upstream,
            upstream_us: self.upstream.and_then(|(_, took)| took).map(micros),
        };
        self.worker.log(&record, now, (self.begun + took).into());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let unanswered = if std::thread::panicking() {
            FAILED
        } else if self.worker.is_cutting() {
            CUT_OFF
        } else {
            CLIENT_LEFT
        };
        let status = self.status.unwrap_or(unanswered);
        let took = self.begun.elapsed();
        self.open.ends_at(self.begun + took);
        self.open.note_end(self.status.is_none());
        let metrics = &self.view.snapshot.metrics;
        metrics.request(self.route, status, took);
        if let Some(line) = &self.line {
            self.log(line, status, took);
        }
    }
}

/// The count and the record of a request whose head could not be read: no more is known of it than whose it was.
pub(super) fn note_unreadable(worker: &Worker, peer: &Peer, is_too_large: bool) {
    let (reason, status) = if is_too_large {
        (
            Rejection::HeaderTooLarge,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        )
    } else {
        (Rejection::RequestMalformed, StatusCode::BAD_REQUEST)
    };
    let view = worker.view();
    let metrics = &view.snapshot.metrics;
    metrics.rejection(None, IssuerLabel::None, reason);
    metrics.request(None, status.as_u16(), Duration::ZERO);
    if !view.snapshot.logs_access {
        return;
    }
    let id = RequestId::of(&HeaderMap::new());
    let record = AccessRecord {
        request_id: id.as_str(),
        client: peer.address,
        client_text: &peer.text_of(peer.address),
        host: "",
        path: "",
        method: "",
        route: metrics.route_name(None),
        status: status.as_u16(),
        duration_us: 0,
        issuer: metrics.issuer_name(IssuerLabel::None),
        subject: None,
        token: None,
        reason: Some(reason),
        would_reject: None,
        upstream: None,
        upstream_us: None,
    };
    worker.log(&record, worker.now(), Instant::now().into_std());
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
