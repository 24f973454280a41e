//! Generates Rust from `proto/` without protoc: messages by prost, a constant for each method, and a `Debug` for every
//! message that prints its name only.

use std::path::{Path, PathBuf};
use std::{env, fmt::Write, fs, io};

use prost_build::{Service, ServiceGenerator};

const PROTO_FILES: [&str; 11] = [
    "apgateway/v1/options.proto",
    "apgateway/v1/register.proto",
    "apgateway/v1/placement.proto",
    "apgateway/v1/passport.proto",
    "apgateway/v1/progress.proto",
    "apgateway/v1/returns.proto",
    "apgateway/v1/oversight.proto",
    "apgateway/v1/delivery.proto",
    "apgateway/v1/audit.proto",
    "apgateway/v1/openings.proto",
    "apgateway/sandbox/v1/sandbox.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=src/store/migrations");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let compiled = protox::Compiler::new(["proto"])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(PROTO_FILES)?
        .encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &compiled)?;
    let set = prost::Message::decode(&compiled[..])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]).skip_debug(["."]).service_generator(Box::new(MethodConstants));
    config.compile_fds(set)?;
    for package in ["apgateway.v1", "apgateway.sandbox.v1"] {
        append_redacted_debug(&out.join(format!("{package}.rs")))?;
    }
    Ok(())
}

/// Generates a module for each service, with a typed constant for each method.
struct MethodConstants;

impl ServiceGenerator for MethodConstants {
    fn generate(&mut self, service: Service, buf: &mut String) {
        let module = snake_case(&service.proto_name);
        let _ = writeln!(buf, "/// Methods of {}.\npub mod {module} {{", service.proto_name);
        for method in &service.methods {
            let _ = writeln!(
                buf,
                "/// {name}\npub const {constant}: crate::proto::Rpc<super::{input}, super::{output}> = \
                 crate::proto::Rpc::new(\"/{package}.{service}/{name}\");",
                name = method.proto_name,
                constant = snake_case(&method.proto_name).to_uppercase(),
                input = method.input_type,
                output = method.output_type,
                package = service.package,
                service = service.proto_name,
            );
        }
        buf.push_str("}\n");
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (position, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && position > 0 {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// Appends a `Debug` for every message and oneof that prints its name only, because any field of a message may hold a
/// child's data.
fn append_redacted_debug(path: &Path) -> io::Result<()> {
    // Enumerations hold no personal data.
    let mut text =
        fs::read_to_string(path)?.replace("::prost::Enumeration)]", "Debug, ::prost::Enumeration)]");
    let (mut impls, mut modules, mut message) = (String::new(), Vec::new(), false);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            _ if ["::prost::Message)]", "::prost::Oneof)]"].iter().any(|derive| line.ends_with(derive)) => {
                message = true;
            }
            ["pub", "mod", name, "{"] => modules.push(*name),
            ["}"] if line == "}" => modules.clear(),
            ["pub", "struct" | "enum", name, ..] if message => {
                message = false;
                let path = modules.iter().chain([name]).copied().collect::<Vec<_>>().join("::");
                let _ = writeln!(
                    impls,
                    "impl ::core::fmt::Debug for {path} {{ fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) \
                     -> ::core::fmt::Result {{ f.write_str(\"{name} {{ .. }}\") }} }}"
                );
            }
            _ => {}
        }
    }
    text.push_str(&impls);
    fs::write(path, text)
}
