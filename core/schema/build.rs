//! Compiles our own `.proto` files (written from the field tables of
//! `reference/controller.md` 2.1-2.3) without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/ha_set_config.proto", "proto/ha_scope_config.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    println!("cargo:rerun-if-changed=proto");
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
