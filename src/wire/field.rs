//! A message's fields, read and written by hand where the generated code would
//! cost too much.

pub(super) enum Value<'a> {
    /// A varint.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// Of a fixed length; this contract has none.
    Other,
}

/// Takes the next field: its number and its value. `None`: it is not one.
#[inline]
pub(super) fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(rest)?;
    let value = match key & 7 {
        0 => Value::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Other)?,
        2 => {
            let len = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, len)?)
        }
        5 => take(rest, 4).map(|_| Value::Other)?,
        _ => return None,
    };
    Some((key >> 3, value))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[inline]
fn varint(rest: &mut &[u8]) -> Option<u64> {
    // Most are one byte.
    if let Some((&first, left)) = rest.split_first()
        && first < 0x80
    {
        *rest = left;
        return Some(u64::from(first));
    }
    long_varint(rest)
}

fn long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (i, byte) in rest.iter().enumerate().take(10) {
        if i == 9 && *byte > 1 {
            return None; // more than 64 bits
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            *rest = &rest[i + 1..];
            return Some(value);
        }
    }
    None
}

/// A varint field; like every proto3 field it is left out when it is 0.
/// Negative numbers take ten bytes, as `int32` and `int64` do on the wire.
pub(super) fn put_number(out: &mut Vec<u8>, field: u64, value: i64) {
    if value != 0 {
        put_varint(out, field << 3);
        put_varint(out, value as u64);
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, field: u64, text: &str) {
    if !text.is_empty() {
        put_varint(out, field << 3 | 2);
        put_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
