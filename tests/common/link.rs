//! A TCP link that can be cut: what connects to it is passed on, until nothing is any more. A cut link is silent, as one
//! whose cable was pulled: nobody is told that the connection has ended.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

/// See the module.
pub(crate) struct Link {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Whether nothing passes.
    cut: Mutex<bool>,
    changed: Condvar,
}

impl State {
    /// Waits until something may pass.
    fn wait(&self) {
        let cut = self.cut.lock().unwrap();
        drop(self.changed.wait_while(cut, |cut| *cut).unwrap());
    }
}

impl Link {
    /// A link to that port of this machine.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (near, shared) = (stream.unwrap(), Arc::clone(&shared));
                thread::spawn(move || {
                    shared.wait();
                    // nobody there: the connection ends, as it would without the link
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
                    let (back, forth) = (Arc::clone(&shared), shared);
                    let (near_back, far_back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                    thread::spawn(move || pass(far_back, near_back, &back));
                    pass(near, far, &forth);
                });
            }
        });
        Self { port: own, state }
    }

    /// Lets nothing through any more.
    pub(crate) fn cut(&self) {
        *self.state.cut.lock().unwrap() = true;
    }

    /// Lets everything through again. What was on its way arrives.
    pub(crate) fn mend(&self) {
        *self.state.cut.lock().unwrap() = false;
        self.state.changed.notify_all();
    }

    /// Where it begins.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut buffer = vec![0; 64 * 1024];
    to.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        state.wait();
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // each side hears of the other's end
    from.shutdown(std::net::Shutdown::Both).ok();
    to.shutdown(std::net::Shutdown::Both).ok();
}
