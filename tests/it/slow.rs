//! A machine that is slow or not up yet: behind a line that takes connections before anybody answers (as QEMU's does), or
//! with no machine there at first.

use crate::common::line::Line;
use crate::common::pace::patience;
use crate::common::{Home, Sshd, login};
use landfall::journal::Record;
use landfall::machine::{ConnectErrorKind, Connection, Deadlines, Login, Target};
use landfall::prepare::{Contact, Purpose, TargetRequest};
use landfall::report::{Metrics, Report};
use std::time::Duration;

/// How to log in over the line.
fn over(line: &Line, home: &Home, sshd: &Sshd) -> Login {
    let mut login = login(home, sshd);
    login.destination.port = Some(line.port);
    login.deadlines.login = patience();
    login
}

#[tokio::test]
async fn a_greeting_that_takes_its_time_is_no_failure() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let line = Line::to(sshd.port.number());
    line.set_black_hole(true);
    let login = over(&line, &home, &sshd);
    let metrics = Metrics::default();
    let slowly = async {
        // Longer than a fixed limit of ssh's own was once.
        tokio::time::sleep(Duration::from_secs(10)).await;
        line.set_black_hole(false);
    };
    let (opened, ()) = tokio::join!(Connection::open(&login, &metrics), slowly);
    opened.unwrap();
}

#[tokio::test]
async fn an_attempt_that_hangs_ends_with_its_own_patience() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let line = Line::to(sshd.port.number());
    line.set_black_hole(true);
    let login = over(&line, &home, &sshd);
    let metrics = Metrics::default();
    let attempt = Connection::open_within(&login, Duration::from_secs(3), &metrics);
    let ended = tokio::time::timeout(patience() / 2, attempt).await.unwrap();
    assert_eq!(ended.err().unwrap().kind, ConnectErrorKind::Slow);
}

#[tokio::test]
async fn attempts_that_hang_do_not_end_the_wait_for_a_boot() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let line = Line::to(sshd.port.number());
    let mut target =
        Target::connect(over(&line, &home, &sshd), Vec::new(), Metrics::default()).await.unwrap();
    let read = "[ \"$1\" != /proc/sys/kernel/random/boot_id ] || exec echo another";
    home.pretend("cat", &format!("{read}\nexec /bin/cat \"$@\""));
    line.set_black_hole(true);
    line.reset();
    // Two attempts have hung when the machine answers.
    let mut hung = 0;
    target.report_waits(Box::new(move |_, _, _, seen| {
        hung += u32::from(seen.contains("timed out"));
        if hung == 2 {
            line.set_black_hole(false);
        }
    }));
    target.await_new_boot("another boot").await.unwrap();
    assert_eq!(target.boot().to_string(), "another");
}

#[tokio::test]
async fn a_machine_that_was_just_switched_on_is_waited_for() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let (port, path) = (sshd.port.clone(), std::env::var("PATH").unwrap());
    let mut login = login(&home, &sshd);
    drop(sshd);
    let request = |login: &Login| TargetRequest {
        login: login.clone(),
        accepts_first_contact: false,
        image: None,
        image_sha256: None,
        prepare: Vec::new(),
    };
    let (report, record, metrics) =
        (Report::new(true, "", None), Record::default(), Metrics::default());
    let purpose = Purpose::Install(&record);
    let once = Contact::make(&request(&login), purpose, &report, &metrics).await;
    assert!(once.err().unwrap().what.contains("cannot be reached"), "one attempt is all");

    login.deadlines = Deadlines { first_login: patience(), ..login.deadlines };
    let request = request(&login);
    let power_on = async {
        // Some attempts come too early.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Sshd::start_on(&home, port, &path, "")
    };
    let (contact, _sshd) =
        tokio::join!(Contact::make(&request, purpose, &report, &metrics), power_on);
    contact.map_err(|failure| failure.what).unwrap();
}
