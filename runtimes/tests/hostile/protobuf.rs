//! Mutations of what a protobuf file says, its framing left intact: numbers, names, order and number of fields.
//! Flipped bytes are mostly refused by the reader; these reach the importer, the passes and the kernels.

use crate::Random;

/// A field, decoded as far as it looks like messages.
#[derive(Clone)]
enum Field {
    Number(u32, u64),
    Fixed(u32, u8, Vec<u8>),
    Bytes(u32, Vec<u8>),
    Message(u32, Vec<Field>),
}

/// Shorter ones are text as often as messages.
const SHORTEST_MESSAGE: usize = 2;
/// Longer ones are weights.
const LONGEST_MESSAGE: usize = 1 << 20;

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn parse(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = u32::try_from(key >> 3).ok().filter(|n| (1..64).contains(n))?;
        let mut take = |n: usize| {
            let (head, rest) = bytes.split_at_checked(n)?;
            bytes = rest;
            Some(head.to_vec())
        };
        fields.push(match key & 7 {
            0 => Field::Number(number, varint(&mut bytes)?),
            1 => Field::Fixed(number, 1, take(8)?),
            5 => Field::Fixed(number, 5, take(4)?),
            2 => {
                let length = varint(&mut bytes)?;
                let (head, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
                bytes = rest;
                let messages = (SHORTEST_MESSAGE..LONGEST_MESSAGE).contains(&head.len()) && depth < 12;
                match messages.then(|| parse(head, depth + 1)).flatten() {
                    Some(inner) => Field::Message(number, inner),
                    None => Field::Bytes(number, head.to_vec()),
                }
            }
            _ => return None,
        });
    }
    Some(fields)
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        let (number, kind) = match field {
            Field::Number(number, _) => (*number, 0),
            Field::Fixed(number, kind, _) => (*number, u64::from(*kind)),
            Field::Bytes(number, _) | Field::Message(number, _) => (*number, 2),
        };
        put_varint(u64::from(number) << 3 | kind, out);
        match field {
            Field::Number(_, value) => put_varint(*value, out),
            Field::Fixed(_, _, bytes) => out.extend(bytes),
            Field::Bytes(_, bytes) => {
                put_varint(bytes.len() as u64, out);
                out.extend(bytes);
            }
            Field::Message(_, inner) => {
                let mut bytes = Vec::new();
                write(inner, &mut bytes);
                put_varint(bytes.len() as u64, out);
                out.extend(bytes);
            }
        }
    }
}

/// Short texts and numbers of a file, to be put where others stand.
fn collect<'a>(fields: &'a [Field], texts: &mut Vec<&'a [u8]>) {
    for field in fields {
        match field {
            Field::Bytes(_, bytes) if bytes.len() < 64 => texts.push(bytes),
            Field::Message(_, inner) => collect(inner, texts),
            _ => {}
        }
    }
}

/// Changes one field, somewhere below.
fn change(fields: &mut Vec<Field>, random: &mut Random, texts: &[Vec<u8>]) {
    if fields.is_empty() {
        return;
    }
    let at = random.below(fields.len());
    let deeper = random.below(8) > 0;
    if let (Field::Message(_, inner), true) = (&mut fields[at], deeper) {
        return change(inner, random, texts);
    }
    match random.below(10) {
        0 => {
            fields.remove(at);
        }
        1 => fields.insert(at, fields[at].clone()),
        2 => {
            let other = random.below(fields.len());
            fields.swap(at, other);
        }
        _ => match &mut fields[at] {
            Field::Number(_, value) => {
                *value = match random.below(4) {
                    0 => value.wrapping_add(1),
                    1 => value.wrapping_sub(1),
                    2 => (random.nasty() as i32) as i64 as u64,
                    _ => random.below(24) as u64,
                }
            }
            Field::Fixed(_, _, bytes) | Field::Bytes(_, bytes)
                if bytes.len() % 4 == 0 && random.below(2) == 0 =>
            {
                let nasty =
                    [0f32, -1.0, 0.5, 1e9, 1e-9, f32::NAN, f32::INFINITY][random.below(7)].to_le_bytes();
                let count = bytes.len() / 4;
                if let Some(number) = bytes.chunks_exact_mut(4).nth(random.below(count)) {
                    number.copy_from_slice(&nasty);
                }
            }
            Field::Bytes(_, bytes) if bytes.len() < 64 && !texts.is_empty() && random.below(2) == 0 => {
                *bytes = texts[random.below(texts.len())].clone();
            }
            Field::Fixed(_, _, bytes) | Field::Bytes(_, bytes) if !bytes.is_empty() => {
                let at = random.below(bytes.len());
                bytes[at] = random.nasty() as u8;
            }
            _ => {}
        },
    }
}

/// One file that says one to four other things.
pub(crate) fn mutate(random: &mut Random, files: &[Vec<u8>]) -> Vec<u8> {
    let mut fields = parse(&files[random.below(files.len())], 0).expect("the files themselves are protobuf");
    let mut texts = Vec::new();
    collect(&fields, &mut texts);
    let texts: Vec<Vec<u8>> = texts.into_iter().map(<[u8]>::to_vec).collect();
    for _ in 0..=random.below(4) {
        change(&mut fields, random, &texts);
    }
    let mut file = Vec::new();
    write(&fields, &mut file);
    file
}
