//! Requests whose client has left, or whose upstream does not read: neither keeps a place of the gateway's for good.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use support::{Connection, Gateway, Request, eventually};

/// An upstream that reads a request's head, writes `answer` and then does nothing more: its connections are handed over, so
/// that they stay open for as long as the test wants. What it has not read lies in the smallest buffer there is.
fn deaf(answer: &'static str) -> (SocketAddr, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (give, connections) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::with_capacity(1, stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let mut stream = reader.into_inner();
            stream.write_all(answer.as_bytes()).unwrap();
            if give.send(stream).is_err() {
                return;
            }
        }
    });
    (address, connections)
}

fn gateway(upstream: SocketAddr, limits: &str, settings: &str) -> Gateway {
    Gateway::start(&format!(
        "[server.limits]\n{limits}\n[[upstream]]\nname = \"api\"\nservers = [\"http://{upstream}\"]\n{settings}\n\
         [[route]]\npath = \"/*\"\nupstream = \"api\"\nauth = \"none\"\n"
    ))
}

/// Sends more of a body than anything between client and upstream can hold.
fn upload(gateway: &Gateway) -> Connection {
    let mut connection = Connection::open(gateway.public);
    connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    fill(connection.stream());
    connection
}

/// Writes until the other side has taken nothing for a while, or more than is held anywhere.
fn fill(mut stream: &TcpStream) {
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let piece = vec![b'x'; 64 << 10];
    let takes = |_: &u32| stream.write_all(&piece).is_ok();
    (0..512).take_while(takes).for_each(drop);
}

fn open_connections(gateway: &Gateway) -> f64 {
    gateway.metric("portcullis_connections", &[("listener", "public")])
}

fn all_are_closed(gateway: &Gateway) {
    eventually("no connection is held", || open_connections(gateway) == 0.0);
}

/// The whole gateway could be stopped by a few uploads to an upstream that says no and stops reading.
#[test]
fn an_early_answer_holds_no_place_once_the_client_has_left() {
    let (address, connections) = deaf("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    let gateway = gateway(address, "connections = 4", "");
    for _ in 0..8 {
        drop(upload(&gateway));
    }
    all_are_closed(&gateway);
    let mut good = Connection::open(gateway.public);
    good.send(&Request::get("/").bytes("a"));
    assert_eq!(good.read(false).unwrap().status, 413);
    // They were open all the time.
    assert_eq!(connections.try_iter().count(), 9);
}

#[test]
fn the_upload_ends_with_an_early_answer() {
    let (address, connections) = deaf("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    let gateway = gateway(address, "", "");
    let mut client = upload(&gateway);
    assert_eq!(client.read(false).unwrap().text(), "no");
    let mut upstream = connections.recv().unwrap();
    upstream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert!(upstream.read_to_end(&mut Vec::new()).is_ok(), "an end");
}

#[test]
fn an_answer_that_goes_on_for_ever_holds_no_place_once_the_client_has_left() {
    let (address, _connections) =
        deaf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    let limits = "body_timeout = \"300ms\"\nidle_timeout = \"300ms\"\nheader_timeout = \"300ms\"";
    let gateway = gateway(address, limits, "");
    let client = upload(&gateway);
    assert_eq!(open_connections(&gateway), 1.0);
    drop(client);
    all_are_closed(&gateway);
}

#[test]
fn a_client_that_stays_keeps_an_answer_that_goes_on_although_its_upload_is_not_read() {
    let (address, connections) =
        deaf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    let limits = "body_timeout = \"200ms\"\nidle_timeout = \"200ms\"\nheader_timeout = \"200ms\"";
    let gateway = gateway(address, limits, "");
    let client = upload(&gateway);
    let mut upstream = connections.recv().unwrap();
    // All limits have been reached, more than once, when these are closed.
    for _ in 0..3 {
        assert!(Connection::open(gateway.public).is_closed());
    }
    upstream.write_all(b"data: 2\n\n").unwrap();
    let mut reader = BufReader::new(client.stream());
    let mut seen = String::new();
    while !seen.contains("data: 2") {
        assert!(reader.read_line(&mut seen).unwrap() > 0, "an early end");
    }
}

#[test]
fn an_upstream_that_neither_reads_nor_answers_is_given_up() {
    let (address, _connections) = deaf("");
    let gateway = gateway(address, "", "response_timeout = \"300ms\"");
    let mut stays = upload(&gateway);
    drop(upload(&gateway));
    let answer = stays.read(false).unwrap();
    assert_eq!(answer.outcome(), "504 upstream_timeout");
    drop(stays);
    all_are_closed(&gateway);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_holds_no_place() {
    let (address, _connections) = deaf("");
    let gateway = gateway(address, "", "");
    let mut client = Connection::open(gateway.public);
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    eventually("it is open", || open_connections(&gateway) == 1.0);
    drop(client);
    all_are_closed(&gateway);
}

#[test]
fn a_client_that_leaves_without_reading_its_answer_holds_no_place() {
    let (address, connections) = deaf("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    let gateway = gateway(address, "", "");
    let mut client = Connection::open(gateway.public);
    client.send(&Request::get("/").bytes("a"));
    fill(&connections.recv().unwrap());
    assert_eq!(open_connections(&gateway), 1.0);
    drop(client);
    all_are_closed(&gateway);
}
