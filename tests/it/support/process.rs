//! Programs that end with the test that has started them, also where that is killed.

use std::{
    ffi::OsStr,
    process::{Child, Command},
    sync::{
        LazyLock,
        mpsc::{Sender, channel},
    },
    thread,
};

/// What, put before a program, has the kernel kill it when the thread that started it is no more.
pub const BOUND: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

/// A program that ends with whoever starts it.
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(BOUND[0]);
    command.args(&BOUND[1..]).arg(program);
    command
}

/// Starts a program on a thread that lasts as long as the test: others end before, and what they have started with them.
pub fn spawn(command: Command) -> Child {
    type Asked = (Command, Sender<std::io::Result<Child>>);
    static STARTER: LazyLock<Sender<Asked>> = LazyLock::new(|| {
        let (starter, asked) = channel::<Asked>();
        thread::spawn(move || {
            for (mut command, tell) in asked {
                let _ = tell.send(command.spawn());
            }
        });
        starter
    });
    let (tell, told) = channel();
    STARTER.send((command, tell)).unwrap();
    told.recv().unwrap().expect("the program is installed, and so is util-linux' setpriv")
}
