//! What waits for a socket: pongs, and pieces that are written in part.

use super::*;

#[test]
fn only_the_newest_pong_waits_unless_the_one_before_is_half_written() {
    let mut out = Out::default();
    out.push(Bytes::from_static(b"answer"));
    for payload in [&b"1"[..], b"22", b"333"] {
        out.pong(wire::pong_frame(payload));
    }
    assert_eq!(out.bytes(), bytes_of(&[Bytes::from_static(b"answer"), wire::pong_frame(b"333")]));
    out.advance("answer".len() + 1);
    out.pong(wire::pong_frame(b"4"));
    out.pong(wire::pong_frame(b"5"));
    out.advance(wire::pong_frame(b"333").len() - 1);
    assert_eq!(out.pop(), Some(wire::pong_frame(b"5")));
    assert!(out.is_empty() && out.bytes() == 0);
}

#[test]
fn answers_that_are_written_in_part_go_on_where_the_socket_stopped() {
    let mut out = Out::default();
    out.push(Bytes::from_static(b"frame"));
    for req in 0..3 {
        out.say(&ServerFrame::Pong { req: Some(req) });
    }
    let answer = wire::server_frame(&ServerFrame::Pong { req: Some(0) }).len();
    out.advance("frame".len() + answer + 1);
    assert_eq!(out.bytes(), bytes_of(&[Bytes::from(vec![0; 3 * answer])]));
    out.say(&ServerFrame::Pong { req: Some(3) });
    out.advance(2 * answer - 1);
    assert_eq!(out.bytes(), bytes_of(&[Bytes::from(vec![0; answer])]));
    out.advance(answer);
    assert!(out.is_empty() && out.bytes() == 0);
}

#[test]
fn a_frame_that_is_written_in_part_counts_whole_until_its_last_byte() {
    let (mut out, page) = (Out::default(), Bytes::from(vec![0; 1 << 20]));
    out.push(page.clone());
    let whole = out.bytes();
    for _ in 0..1_023 {
        out.advance(1 << 10);
        assert_eq!(out.bytes(), whole);
    }
    out.advance(1 << 10);
    assert!(out.is_empty() && out.bytes() == 0);
}
