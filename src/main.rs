//! The program.
fn main() {
    match aws_iot_command_exporter::cli::Cli::parse_command(std::env::args_os()) {
        Ok(c) => println!("{c:?}"),
        Err(e) => e.exit(),
    }
}
