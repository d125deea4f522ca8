//! A TCP proxy before Redis: the network, which can be slow, silent, or cut in the middle of a word.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is in every change, and in nothing else that a gateway sends.
const PAYLOAD: &[u8] = b"\"kind\"";

/// What happens to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fair,
    /// Everything comes, so much later.
    Slow(Duration),
    /// Nothing comes, and nobody is told.
    BlackHole,
    /// Of what a gateway sends next, so many bytes come; then the connection is cut.
    CutRequest(usize),
    /// What a gateway sends next comes whole; before the answer the connection is cut.
    CutAnswer,
    /// Nobody listens.
    Closed,
}

/// The network between one gateway and Redis.
pub(super) struct Wire {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    weather: Mutex<Weather>,
    target: Mutex<SocketAddr>,
    open: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn weather(&self) -> Weather {
        *self.weather.lock().expect("a lock")
    }

    /// A cut happens once.
    fn clear_up(&self) {
        *self.weather.lock().expect("a lock") = Weather::Fair;
    }
}

impl Wire {
    pub(super) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            weather: Mutex::new(Weather::Fair),
            target: Mutex::new(target),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || connect(stream, &shared));
            }
        });
        Self { address, shared }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(super) fn set(&self, weather: Weather) {
        *self.shared.weather.lock().expect("a lock") = weather;
        if weather == Weather::Closed {
            self.cut();
        }
    }

    /// From now on leads elsewhere.
    pub(super) fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("a lock") = target;
        self.cut();
    }

    /// Ends every connection.
    pub(super) fn cut(&self) {
        for stream in self.shared.open.lock().expect("a lock").drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn connect(gateway: TcpStream, shared: &Arc<Shared>) {
    let target = *shared.target.lock().expect("a lock");
    if shared.weather() == Weather::Closed {
        return;
    }
    let Ok(redis) = TcpStream::connect(target) else {
        return;
    };
    let clone = |stream: &TcpStream| stream.try_clone().expect("a stream");
    let mut open = shared.open.lock().expect("a lock");
    open.extend([clone(&gateway), clone(&redis)]);
    drop(open);
    let (there, back) = (Arc::clone(shared), Arc::clone(shared));
    let (from, to) = (clone(&gateway), clone(&redis));
    std::thread::spawn(move || carry(from, to, &there, Direction::ToRedis));
    carry(redis, gateway, &back, Direction::ToGateway);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToRedis,
    ToGateway,
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Shared, direction: Direction) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(length) if length > 0 => length,
            _ => break,
        };
        let mut bytes = &buffer[..length];
        // Changes alone are cut: whatever else is asked goes by.
        let is_change = bytes.windows(PAYLOAD.len()).any(|word| word == PAYLOAD);
        match (shared.weather(), direction) {
            (Weather::Slow(delay), _) => std::thread::sleep(delay),
            (Weather::BlackHole, _) => continue,
            (Weather::CutRequest(at), Direction::ToRedis) if is_change => {
                shared.clear_up();
                bytes = &bytes[..at.min(length)];
                drop(to.write_all(bytes));
                break;
            }
            (Weather::CutAnswer, Direction::ToRedis) if is_change => {
                shared.clear_up();
                drop(from.shutdown(Shutdown::Write));
                drop(to.write_all(bytes));
                // Whatever is answered does not come through: the other direction writes into what is closed.
                break;
            }
            _ => {}
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    if direction == Direction::ToGateway {
        drop(to.shutdown(Shutdown::Both));
    } else {
        // What was sent is read by Redis before it sees the end.
        drop(to.shutdown(Shutdown::Write));
    }
}
