//! What an answer's `Retry-After` asks for, in seconds. Pure but for the clock of a date.

use std::time::SystemTime;

/// Answers below this do not ask anybody to wait.
const FROM: u16 = 300;
/// The name of the field, and its colon.
const FIELD: &[u8] = b"retry-after:";

/// Reads it from an answer as it leaves; its body may follow.
pub(super) fn read(status: u16, answer: &[u8]) -> Option<f32> {
    if status < FROM {
        return None;
    }
    let lines = answer.split(|byte| *byte == b'\n').take_while(|line| !matches!(*line, b"\r" | b""));
    let value = lines.skip(1).find_map(|line| {
        let (name, value) = line.split_at_checked(FIELD.len())?;
        name.eq_ignore_ascii_case(FIELD).then_some(value)
    })?;
    seconds(std::str::from_utf8(value).ok()?.trim(), SystemTime::now())
}

/// Seconds, or a date: then from `now`.
fn seconds(value: &str, now: SystemTime) -> Option<f32> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().filter(|seconds: &f32| seconds.is_finite());
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).map_or(0.0, |left| left.as_secs_f32().round()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn seconds_and_dates_are_read_and_nothing_else() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_717);
        for (value, wait) in [
            ("120", Some(120.0)),
            ("0", Some(0.0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60.0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60.0)),
            ("Sun, 06 Nov 1994 08:40:37 GMT", Some(0.0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(seconds(value, now), wait, "{value}");
        }
    }

    #[test]
    fn it_is_read_from_the_head_of_an_answer_that_failed() {
        for (status, answer, wait) in [
            (503, "HTTP/1.1 503 Busy\r\nRETRY-AFTER: 5\r\n\r\n", Some(5.0)),
            (429, "HTTP/1.1 429 Slowly\r\nA: b\r\nRetry-After:7\r\nRetry-After: 9\r\n\r\n", Some(7.0)),
            (200, "HTTP/1.1 200 OK\r\nRetry-After: 5\r\n\r\n", None),
            (503, "HTTP/1.1 503 Busy\r\n\r\nRetry-After: 5\r\n", None),
            (503, "HTTP/1.1 503 Busy\r\nX-Retry-After: 5\r\n\r\n", None),
            (503, "", None),
        ] {
            assert_eq!(read(status, answer.as_bytes()), wait, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(answer in prop::collection::vec(any::<u8>(), 0..200), digits in "[0-9]{0,60}") {
            read(503, &answer);
            if let Some(wait) = read(503, format!("x\r\nretry-after: {digits}\r\n").as_bytes()) {
                prop_assert!(wait.is_finite());
            }
        }
    }
}
