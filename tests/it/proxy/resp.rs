//! Where a message of Redis' protocol ends.

/// How many bytes the first message has, if it is whole: a command, or a reply of RESP2 or RESP3.
pub fn message(bytes: &[u8]) -> Option<usize> {
    let end = 2 + bytes.windows(2).position(|window| window == b"\r\n")?;
    let (kind, line) = bytes[..end - 2].split_first()?;
    // -1: nothing follows.
    let number = || std::str::from_utf8(line).ok()?.parse::<isize>().ok();
    let messages =
        |count: usize| (0..count).try_fold(end, |at, _| Some(at + message(bytes.get(at..)?)?));
    match kind {
        b'$' | b'!' | b'=' => match usize::try_from(number()?) {
            Ok(length) => Some(end + length + 2).filter(|end| *end <= bytes.len()),
            Err(_) => Some(end),
        },
        b'*' | b'~' | b'>' => messages(usize::try_from(number()?).unwrap_or(0)),
        b'%' => messages(2 * usize::try_from(number()?).unwrap_or(0)),
        // An attribute belongs to the message behind it.
        b'|' => messages(2 * usize::try_from(number()?).unwrap_or(0) + 1),
        _ => Some(end),
    }
}

/// Whether it is news that nobody asked for, rather than a reply.
pub fn is_push(message: &[u8]) -> bool {
    message.starts_with(b">")
}
