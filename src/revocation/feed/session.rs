//! A Redis that answers: two connections, and what was learned when they were made.
//!
//! Owns connecting, how long an answer may take, and the words for what went wrong. A session that has failed once is
//! over: another is made in its place. Knows nothing of revocations but that they are lines of text.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, ScriptInvocation, TlsCertificates, Value,
};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::place::Place;
use super::script::Scripts;
use crate::config::{Redis, Secret};
use crate::revocation::standing::GRACE;
use crate::time::UnixTime;

/// For a connection, with TLS and all.
const CONNECT: Duration = Duration::from_secs(2);
/// A change that Redis does not come to in this time, it does not make any more.
const PATIENCE: Duration = Duration::from_secs(2);
/// For the answer to a change: longer, so that what was made in the last moment is heard of.
const ANSWER: Duration = Duration::from_secs(3);
/// How long the stream is waited on for news; that it has none says that Redis is there.
const BLOCK: Duration = Duration::from_millis(500);
/// For the answer to that: when it does not come, Redis is away.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Changes read at once.
pub(super) const CHANGES: usize = 1_000;
/// Entries read at once, about: Redis's to choose.
const SCAN: usize = 1_000;
/// Changes that the stream holds, about; who is further behind reads the whole state.
const LONGEST_STREAM: usize = 100_000;
/// What the stream forgets; who was away longer reads the whole state.
const STREAM_AGE: Duration = Duration::from_hours(24);
/// Entries removed at once.
const SWEEP: usize = 256;

/// What the scripts say of a change that is past its deadline.
const LATE: &str = "LATE";

/// Why Redis cannot be used. For operators: no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(pub(super) String);

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self("it does not answer in time".to_owned());
        }
        Self(match (error.code(), error.detail()) {
            (Some(LATE), _) => "it came to the change too late to make it".to_owned(),
            // The server's own words.
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            _ => error.to_string(),
        })
    }
}

/// One change of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamChange {
    pub(super) place: Place,
    /// The mark of the change before it.
    pub(super) after: String,
    pub(super) id: String,
    pub(super) line: String,
}

/// One step through all entries.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) cursor: u64,
    /// Id and line.
    pub(super) entries: Vec<(String, String)>,
}

/// What is told with every change: who asks, and until when it may be made.
struct Terms {
    deadline: u64,
    now: i64,
    mark: String,
}

#[derive(Debug)]
pub(super) struct Session {
    commands: MultiplexedConnection,
    /// Blocks, so that nothing else may use it.
    feed: MultiplexedConnection,
    /// Redis's clock, in microseconds, at that moment of ours.
    clock: (u64, Instant),
    fault: OnceLock<Fault>,
    failed: Notify,
}

impl Session {
    /// Connects, and sees that it can be written.
    pub(super) async fn connect(settings: &Redis, scripts: &Scripts) -> Result<Self, Fault> {
        let client = client(settings).await?;
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let connect = async {
            let mut commands = client
                .get_multiplexed_async_connection_with_config(&limits)
                .await?;
            let feed = client
                .get_multiplexed_async_connection_with_config(&limits)
                .await?;
            for script in scripts.all() {
                script.load_async(&mut commands).await?;
            }
            let time: (u64, u64) = scripts
                .call(&scripts.greet)
                .invoke_async(&mut commands)
                .await?;
            let (seconds, micros) = time;
            let clock = seconds.saturating_mul(1_000_000).saturating_add(micros);
            Ok::<_, RedisError>(Self {
                commands,
                feed,
                clock: (clock, Instant::now()),
                fault: OnceLock::new(),
                failed: Notify::new(),
            })
        };
        let connected = timeout(2 * CONNECT, connect).await;
        connected
            .map_err(|_| Fault("it does not answer in time".to_owned()))?
            .map_err(Fault::from)
    }

    /// Waits until something has failed that makes this session useless.
    pub(super) async fn failure(&self) -> Fault {
        self.failed.notified().await;
        let unknown = || Fault("it failed".to_owned());
        self.fault.get().cloned().unwrap_or_else(unknown)
    }

    /// Where the stream ends and what comes after `place`, both of one moment.
    pub(super) async fn changes_after(
        &self,
        scripts: &Scripts,
        place: &Place,
    ) -> Result<(Place, Vec<StreamChange>), Fault> {
        let mut call = scripts.call(&scripts.changes);
        call.arg(&place.id).arg(CHANGES);
        let (tail, found): (String, Vec<Value>) = self.ask(call).await?;
        let tail = Place::of_tail(&tail).ok_or_else(foreign)?;
        Ok((tail, read_changes(found)?))
    }

    /// Waits for what comes after `place`; nothing if nothing comes for a while.
    pub(super) async fn wait_for_changes(
        &self,
        scripts: &Scripts,
        place: &Place,
    ) -> Result<Vec<StreamChange>, Fault> {
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(CHANGES)
            .arg("BLOCK")
            .arg(BLOCK.as_millis().try_into().unwrap_or(u64::MAX))
            .arg("STREAMS")
            .arg(&scripts.keys.changes)
            .arg(&place.id);
        let mut connection = self.feed.clone();
        let asked = timeout(HEARTBEAT, command.query_async(&mut connection)).await;
        let answer = asked.map_err(|_| Fault("it does not answer in time".to_owned()))?;
        let streams: Option<Vec<(String, Vec<Value>)>> = answer?;
        let found = streams
            .into_iter()
            .flatten()
            .flat_map(|(_, changes)| changes);
        read_changes(found.collect())
    }

    /// One step through all entries, from a cursor; 0 begins, and ends.
    pub(super) async fn scan(&self, scripts: &Scripts, cursor: u64) -> Result<Scanned, Fault> {
        let mut command: Cmd = redis::cmd("HSCAN");
        command
            .arg(&scripts.keys.entries)
            .arg(cursor)
            .arg("COUNT")
            .arg(SCAN);
        let mut connection = self.commands.clone();
        let answer = command.query_async(&mut connection).await;
        let (cursor, entries) = answer.map_err(|error| self.fail(error))?;
        Ok(Scanned { cursor, entries })
    }

    /// Which of these ids have no entry.
    pub(super) async fn missing(
        &self,
        scripts: &Scripts,
        ids: impl IntoIterator<Item = String>,
    ) -> Result<Vec<String>, Fault> {
        let mut call = scripts.call(&scripts.missing);
        for id in ids {
            call.arg(id);
        }
        self.ask(call).await
    }

    /// Adds revocations: id, our account of it or nothing, the new one. For each, whether it is new, and how it stands.
    pub(super) async fn revoke(
        &self,
        scripts: &Scripts,
        wanted: &[(String, String, String)],
        now: UnixTime,
    ) -> Result<Vec<(bool, String)>, Fault> {
        let mut call = scripts.call(&scripts.revoke);
        self.terms(now).add_to(&mut call);
        for (id, known, new) in wanted {
            call.arg(id).arg(known).arg(new);
        }
        self.ask(call).await
    }

    /// Restores: id, our account of it or nothing. For each how it stands, if there was anything to restore.
    pub(super) async fn restore(
        &self,
        scripts: &Scripts,
        wanted: &[(String, String)],
        now: UnixTime,
    ) -> Result<Vec<Option<String>>, Fault> {
        let mut call = scripts.call(&scripts.restore);
        self.terms(now).add_to(&mut call);
        for (id, known) in wanted {
            call.arg(id).arg(known);
        }
        self.ask(call).await
    }

    /// Tells Redis what it may lack; of how many it did.
    pub(super) async fn publish(
        &self,
        scripts: &Scripts,
        accounts: &[(String, String)],
        now: UnixTime,
    ) -> Result<u64, Fault> {
        let mut call = scripts.call(&scripts.publish);
        self.terms(now).add_to(&mut call);
        call.arg(GRACE.as_millis().try_into().unwrap_or(u64::MAX));
        for (id, line) in accounts {
            call.arg(id).arg(line);
        }
        self.ask(call).await
    }

    /// Removes some of what has ended; whether there may be more.
    pub(super) async fn sweep(&self, scripts: &Scripts) -> Result<bool, Fault> {
        let before = |age: Duration| {
            let age = age.as_micros().try_into().unwrap_or(u64::MAX);
            self.redis_now().saturating_sub(age) / 1_000
        };
        let mut call = scripts.call(&scripts.sweep);
        call.arg(before(GRACE)).arg(SWEEP).arg(before(STREAM_AGE));
        let removed: usize = self.ask(call).await?;
        Ok(removed == SWEEP)
    }

    async fn ask<T: FromRedisValue>(&self, call: ScriptInvocation<'_>) -> Result<T, Fault> {
        let mut connection = self.commands.clone();
        call.invoke_async(&mut connection)
            .await
            .map_err(|error| self.fail(error))
    }

    /// Every failure ends the session: even one that is the server's alone shows that something is not as it was.
    fn fail(&self, error: RedisError) -> Fault {
        let fault = Fault::from(error);
        self.fault.get_or_init(|| fault.clone());
        self.failed.notify_one();
        fault
    }

    fn terms(&self, now: UnixTime) -> Terms {
        Terms {
            deadline: self.redis_now().saturating_add(micros(PATIENCE)),
            now: now.as_micros().div_euclid(1_000),
            mark: format!("{:016x}", fastrand::u64(..)),
        }
    }

    /// What Redis's clock should say by now, in microseconds.
    fn redis_now(&self) -> u64 {
        let (clock, at) = self.clock;
        clock.saturating_add(micros(at.elapsed()))
    }
}

impl Terms {
    fn add_to(self, call: &mut ScriptInvocation<'_>) {
        call.arg(self.deadline)
            .arg(self.now)
            .arg(self.mark)
            .arg(LONGEST_STREAM);
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap_or(u64::MAX)
}

async fn client(settings: &Redis) -> Result<Client, Fault> {
    let mut login = RedisConnectionInfo::default()
        .set_db(i64::from(settings.database))
        .set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(path) = &settings.password_file {
        let content = tokio::fs::read(path).await;
        let unreadable = |error| Fault(format!("its password_file cannot be read: {error}"));
        let secret = Secret::from_file_content(content.map_err(unreadable)?);
        let password = std::str::from_utf8(secret.expose());
        login =
            login.set_password(password.map_err(|_| Fault("its password is no UTF-8".to_owned()))?);
    }
    let (host, port) = (settings.host.clone(), settings.port);
    let address = match &settings.tls {
        None => ConnectionAddr::Tcp(host, port),
        Some(_) => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
    };
    let info: ConnectionInfo = address.into_connection_info()?.set_redis_settings(login);
    Ok(match &settings.tls {
        None => Client::open(info)?,
        Some(tls) => Client::build_with_tls(
            info,
            TlsCertificates {
                client_tls: None,
                root_cert: tls.ca.clone(),
            },
        )?,
    })
}

fn read_changes(found: Vec<Value>) -> Result<Vec<StreamChange>, Fault> {
    found
        .into_iter()
        .map(|change| read_change(change).ok_or_else(foreign))
        .collect()
}

fn read_change(change: Value) -> Option<StreamChange> {
    let (place, fields): (String, Vec<(String, String)>) = redis::from_redis_value(change).ok()?;
    let mut fields: HashMap<String, String> = fields.into_iter().collect();
    let mut take = |name: &str| fields.remove(name);
    Some(StreamChange {
        place: Place {
            id: place,
            mark: take("mark")?,
        },
        after: take("after")?,
        id: take("id")?,
        line: take("line")?,
    })
}

fn foreign() -> Fault {
    Fault("the data under this prefix is not what Portcullis writes".to_owned())
}
