//! Compiles the ONNX schema into message types that keep the fields which the schema does not know.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const SCHEMA: &str = "proto/onnx.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let mut schema = protox::compile([SCHEMA], ["proto"])?;
    let mut messages = Vec::new();
    for file in &schema.file {
        for message in &file.message_type {
            collect(message, ".onnx", "onnx", &mut messages);
        }
    }
    wrap_message_fields(&mut schema, &messages);

    let mut config = prost_build::Config::new();
    config
        .bytes([".onnx.TensorProto.raw_data"])
        .disable_comments(["."]);
    for message in &messages {
        config.extern_path(
            wrapped(&message.schema_name),
            format!("crate::proto::Kept<crate::proto::{}>", message.rust_path),
        );
    }
    config.compile_fds(schema)?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("known.rs"), known_tags(&messages)?)?;
    Ok(())
}

struct Message {
    schema_name: String,
    rust_path: String,
    tags: Vec<i32>,
}

fn collect(message: &DescriptorProto, scope: &str, module: &str, into: &mut Vec<Message>) {
    let schema_name = format!("{scope}.{}", message.name());
    into.push(Message {
        rust_path: format!("{module}::{}", message.name()),
        tags: message.field.iter().map(FieldDescriptorProto::number).collect(),
        schema_name: schema_name.clone(),
    });
    let inner = format!("{module}::{}", snake_case(message.name()));
    for nested in &message.nested_type {
        collect(nested, &schema_name, &inner, into);
    }
}

/// Makes every field of message type refer to a wrapper message in package `kept`, which stands for the Rust
/// type `Kept<T>`. Each wrapper is declared as holding the message itself, so that recursive types are found
/// and boxed as without wrappers.
fn wrap_message_fields(schema: &mut FileDescriptorSet, messages: &[Message]) {
    for file in &mut schema.file {
        file.message_type.iter_mut().for_each(wrap_fields_of);
    }
    let mut package = FileDescriptorProto {
        name: Some("kept.proto".to_owned()),
        package: Some("kept".to_owned()),
        ..Default::default()
    };
    for message in messages {
        nest(&mut package.message_type, &message.schema_name);
    }
    schema.file.push(package);
}

fn wrap_fields_of(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if field.r#type() == Type::Message {
            field.type_name = Some(wrapped(field.type_name()));
        }
    }
    message.nested_type.iter_mut().for_each(wrap_fields_of);
}

/// Declares the wrapper of `.onnx.Outer.Inner` as `Outer.Inner`; outer messages come before inner ones.
fn nest(siblings: &mut Vec<DescriptorProto>, schema_name: &str) {
    let mut path = schema_name.split('.').skip(2).peekable();
    let mut level = siblings;
    while let Some(name) = path.next() {
        if path.peek().is_none() {
            level.push(wrapper(name, schema_name));
            return;
        }
        let outer = level.iter().position(|message| message.name() == name);
        level = &mut level[outer.expect("outer messages come first")].nested_type;
    }
}

fn wrapper(name: &str, schema_name: &str) -> DescriptorProto {
    let field = |name: &str, number, label, of| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label as i32),
        r#type: Some(of as i32),
        ..Default::default()
    };
    DescriptorProto {
        name: Some(name.to_owned()),
        field: vec![
            FieldDescriptorProto {
                type_name: Some(schema_name.to_owned()),
                ..field("known", 1, Label::Optional, Type::Message)
            },
            field("unknown", 2, Label::Repeated, Type::Bytes),
        ],
        ..Default::default()
    }
}

fn wrapped(schema_name: &str) -> String {
    schema_name.replacen(".onnx.", ".kept.", 1)
}

fn known_tags(messages: &[Message]) -> Result<String, std::fmt::Error> {
    let mut code = String::new();
    for Message { rust_path, tags, .. } in messages {
        writeln!(
            code,
            "impl Known for {rust_path} {{ const TAGS: &'static [u32] = &{tags:?}; }}"
        )?;
    }
    Ok(code)
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in camel.char_indices() {
        if letter.is_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
