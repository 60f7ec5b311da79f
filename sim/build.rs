//! Lets libraries that look `getrandom` up at run time find the one of the simulation.

fn main() {
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=getrandom");
}
