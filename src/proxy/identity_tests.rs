//! Identities, over heads and bodies as bytes.

use super::*;
use crate::http1::{Limits, parse_request, slots};
use proptest::prelude::*;

/// What is known of a request, its body looked at in pieces of so many bytes.
fn known(text: &[u8], named: Option<&str>, piece: usize) -> (Identity, u32) {
    let mut slots = slots();
    let head = parse_request(text, &mut slots, &Limits::default()).unwrap().unwrap();
    let known = Known::of(&head, named);
    let identity = known.print.map(|mut print| {
        let body = &text[head.len..];
        // what stands in the buffer is looked at first, and passes later
        print.look(&body[..body.len().min(piece)]);
        body.chunks(piece).for_each(|piece| print.pass(piece));
        print.identity()
    });
    (identity.unwrap_or(known.identity), known.target)
}

fn get(fields: &str) -> Identity {
    known(format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes(), Some("x-own"), 1).0
}

#[test]
fn hashes_never_change() {
    for (bytes, number) in [
        ("a", 0xce71_bc3a_afaf_d905),
        ("0123456", 0xe796_3f35_13e1_b461),
        ("01234567", 0xa9f4_fc36_3490_9b57),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", 0xe1a7_a86e_1a7b_a15d),
    ] {
        assert_eq!(hash(bytes.as_bytes()), number, "journals of other versions are compared with {bytes}");
    }
}

#[test]
fn only_a_valid_traceparent_is_a_trace() {
    let of = |value: &str| get(&format!("traceparent: {value}\r\nx-request-id: 7\r\n"));
    let (id, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let trace = Identity::Trace(hash(id.as_bytes()));
    let given = Identity::Given(hash(b"7"));
    for (value, identity) in [
        (format!("00-{id}-{parent}-01"), trace),
        (format!("cc-{id}-{parent}-01"), trace),
        (format!("cc-{id}-{parent}-01-more"), trace),
        (format!("00-{id}-{parent}-01-more"), given),
        (format!("cc-{id}-{parent}-01more"), given),
        (format!("ff-{id}-{parent}-01"), given),
        (format!("0x-{id}-{parent}-01"), given),
        (format!("00-{}-{parent}-01", id.to_uppercase()), given),
        (format!("00-{}-{parent}-01", "0".repeat(32)), given),
        (format!("00-{id}-{}-01", "0".repeat(16)), given),
        (format!("00-{id}-{parent}-0g"), given),
        (format!("00-{id}-{parent}-0"), given),
        (format!("00_{id}-{parent}-01"), given),
        (format!("00-{id}_{parent}-01"), given),
        (String::new(), given),
    ] {
        assert_eq!(of(&value), identity, "{value}");
    }
}

#[test]
fn the_edges_own_field_is_asked_first_and_an_empty_one_says_nothing() {
    let given = |id: &str| Identity::Given(hash(id.as_bytes()));
    for (fields, identity) in [
        ("X-Own: 1\r\nx-request-id: 2\r\n", given("1")),
        ("x-own:\r\nx-request-id: 2\r\n", given("2")),
        ("x-own:\r\nX-OWN: 1\r\n", given("1")),
        ("idempotency-key: 3\r\nx-request-id: 2\r\n", given("2")),
        ("Idempotency-Key: 3\r\nx-request-id:\r\n", given("3")),
    ] {
        assert_eq!(get(fields), identity, "{fields}");
    }
    assert!(matches!(get("x-other: 1\r\n"), Identity::Fingerprint(_)));
}

proptest! {
    #[test]
    fn how_bytes_are_cut_makes_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..60), cuts in prop::collection::vec(0usize..20, 0..9)) {
        let mut mixer = Mixer::default();
        let mut rest = &bytes[..];
        for cut in cuts {
            let (piece, more) = rest.split_at(cut.min(rest.len()));
            mixer.write(piece);
            rest = more;
        }
        mixer.write(rest);
        prop_assert_eq!(mixer.value(), hash(&bytes));
    }

    #[test]
    fn a_fingerprint_is_that_of_the_payload(
        body in prop::collection::vec(any::<u8>(), 1..300), size in 1usize..100, pieces: [u8; 2], other in any::<u8>(),
    ) {
        let plain = |body: &[u8]| {
            let head = format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        };
        let mut chunked = b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(size) {
            chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let [one, two] = pieces.map(|piece| usize::from(piece) + 1);
        let print = known(&plain(&body), None, one);
        prop_assert_eq!(print, known(&chunked, None, two));
        let mut changed = body.clone();
        changed[body.len() / 2] ^= other;
        prop_assert_eq!(print == known(&plain(&changed), None, one), other == 0);
    }

    #[test]
    fn what_is_beyond_64_kib_makes_no_difference(more in prop::collection::vec(any::<u8>(), 1..40), piece in 1_000usize..90_000) {
        let of = |tail: &[u8]| {
            let body = [vec![b'x'; BODY - 1], tail.to_vec()].concat();
            let head = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            let text = format!("{head}{:x}\r\n", body.len());
            known(&[text.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat(), None, piece).0
        };
        prop_assert_eq!(of(&more), of(&more[..1]));
    }
}
