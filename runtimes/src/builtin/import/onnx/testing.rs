//! Writes small ONNX files for the tests of the importer; the mirror image of [`super::wire`].

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn int(mut self, number: u32, value: i64) -> Self {
        self.varint(u64::from(number) << 3);
        self.varint(value as u64);
        self
    }

    pub(crate) fn float(mut self, number: u32, value: f32) -> Self {
        self.varint(u64::from(number) << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, number: u32, value: &[u8]) -> Self {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    pub(crate) fn text(self, number: u32, value: &str) -> Self {
        self.bytes(number, value.as_bytes())
    }

    pub(crate) fn nested(self, number: u32, value: Message) -> Self {
        self.bytes(number, &value.0)
    }
}

/// A file of IR version 8 around a GraphProto.
pub(crate) fn model(opset: i64, graph: Message) -> Vec<u8> {
    let ms = Message::new().text(1, "com.microsoft").int(2, 1);
    Message::new()
        .int(1, 8)
        .text(2, "test")
        .nested(8, Message::new().int(2, opset))
        .nested(8, ms)
        .nested(7, graph)
        .into_bytes()
}

/// A NodeProto without attributes.
pub(crate) fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let mut message = Message::new();
    for input in inputs {
        message = message.text(1, input);
    }
    for output in outputs {
        message = message.text(2, output);
    }
    message.text(4, op_type)
}

/// A ValueInfoProto of a tensor; `None` is an open dimension called `n`.
pub(crate) fn value_info(name: &str, elem_type: i64, shape: &[Option<i64>]) -> Message {
    let mut dims = Message::new();
    for dim in shape {
        dims = dims.nested(
            1,
            match dim {
                Some(value) => Message::new().int(1, *value),
                None => Message::new().text(2, "n"),
            },
        );
    }
    let tensor = Message::new().int(1, elem_type).nested(2, dims);
    Message::new().text(1, name).nested(2, Message::new().nested(1, tensor))
}

/// A TensorProto with raw data.
pub(crate) fn tensor(name: &str, data_type: i64, dims: &[i64], raw: &[u8]) -> Message {
    let mut message = Message::new();
    for dim in dims {
        message = message.int(1, *dim);
    }
    message.int(2, data_type).text(8, name).bytes(9, raw)
}

/// A TensorProto of f32.
pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, 1, dims, &raw)
}

/// A TensorProto of i64.
pub(crate) fn ints(name: &str, dims: &[i64], values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, 7, dims, &raw)
}
