//! Every fault, at both ends, over a pipe under a paused clock.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::Instant,
};

use super::*;

type Line = Faulty<DuplexStream>;

fn line() -> (Faults, Line, Line) {
    let (near, far) = tokio::io::duplex(1024);
    let faults = Faults::new();
    (faults.clone(), faults.wrap(near, End::Client), faults.wrap(far, End::Server))
}

async fn rest(line: &mut Line) -> Vec<u8> {
    let mut rest = Vec::new();
    line.read_to_end(&mut rest).await.unwrap();
    rest
}

#[tokio::test(start_paused = true)]
async fn a_line_is_cut_behind_the_given_byte_and_neither_end_hangs() {
    for (way, bytes) in [(Way::ToServer, 0), (Way::ToServer, 3), (Way::ToClient, 5)] {
        let (faults, near, far) = line();
        let (mut sender, mut receiver) = if way == Way::ToServer { (near, far) } else { (far, near) };
        faults.cut_after(way, bytes);
        let sent = sender.write_all(b"0123456789").await.unwrap_err();
        assert_eq!(sent.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(rest(&mut receiver).await, b"0123456789"[..usize::try_from(bytes).unwrap()]);
        assert_eq!(faults.passed(way), bytes);
        assert!(receiver.write_all(b"x").await.is_err());
        assert_eq!(rest(&mut sender).await, b"");
    }
}

#[tokio::test(start_paused = true)]
async fn the_sender_that_waits_for_an_answer_is_told_of_its_own_cut() {
    let (faults, near, _far) = line();
    faults.cut_after(Way::ToServer, 2);
    let (mut reads, mut writes) = tokio::io::split(near);
    let reading = tokio::spawn(async move { reads.read_u8().await.map_err(|error| error.kind()) });
    tokio::task::yield_now().await;
    assert_eq!(writes.write(b"abc").await.unwrap(), 2);
    assert_eq!(reading.await.unwrap(), Err(io::ErrorKind::UnexpectedEof));
}

#[tokio::test(start_paused = true)]
async fn a_cut_and_a_reset_wake_who_waits_at_either_end() {
    for reset in [false, true] {
        let (faults, mut near, mut far) = line();
        let at = |line: Result<u8, io::Error>| line.map_err(|error| error.kind());
        let (one, other, ()) = tokio::join!(near.read_u8(), far.read_u8(), async {
            if reset { faults.reset() } else { faults.cut() }
        });
        let kind = if reset { io::ErrorKind::ConnectionReset } else { io::ErrorKind::UnexpectedEof };
        assert_eq!((at(one), at(other)), (Err(kind), Err(kind)));
        assert!(near.write_all(b"x").await.is_err() && far.write_all(b"x").await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_line_says_nothing_and_holds_what_is_sent_until_it_goes_on() {
    let (faults, mut near, mut far) = line();
    faults.stall();
    near.write_all(b"held").await.unwrap();
    let mut heard = [0; 4];
    assert!(tokio::time::timeout(Duration::from_secs(3600), far.read_exact(&mut heard)).await.is_err());
    let (read, ()) = tokio::join!(far.read_exact(&mut heard), async { faults.resume() });
    read.unwrap();
    assert_eq!(&heard, b"held");
}

#[tokio::test(start_paused = true)]
async fn half_of_a_line_ends_and_the_other_goes_on() {
    let (faults, mut near, mut far) = line();
    let (heard, ()) = tokio::join!(async { (rest(&mut far).await, far) }, async {
        faults.half_close(Way::ToServer);
        assert!(near.write_all(b"x").await.is_err());
    });
    let (heard, mut far) = heard;
    assert_eq!(heard, b"");
    far.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    near.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}

#[tokio::test(start_paused = true)]
async fn pieces_are_as_small_and_as_late_as_asked() {
    let (faults, mut near, mut far) = line();
    faults.split(3);
    faults.delay(Duration::from_millis(10));
    near.write_all(b"0123456789").await.unwrap();
    let began = Instant::now();
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    while pieces.concat().len() < 10 {
        let mut piece = [0; 10];
        let read = far.read(&mut piece).await.unwrap();
        pieces.push(piece[..read].to_vec());
    }
    assert_eq!(pieces, [&b"012"[..], b"345", b"678", b"9"]);
    assert_eq!(began.elapsed(), Duration::from_millis(40));
}

#[tokio::test(start_paused = true)]
async fn chaos_loses_nothing_and_is_the_same_for_the_same_seed() {
    let text: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
    let run = |seed| {
        let text = text.clone();
        async move {
            let (faults, mut near, mut far) = line();
            faults.chaos(seed);
            let began = Instant::now();
            let mut heard = Vec::new();
            tokio::join!(
                async {
                    near.write_all(&text).await.unwrap();
                    drop(near);
                },
                async { heard = rest(&mut far).await }
            );
            assert!(heard == text, "{} bytes", heard.len());
            began.elapsed()
        }
    };
    let (one, same, other) = (run(1).await, run(1).await, run(2).await);
    assert!(one > Duration::from_millis(500), "{one:?}");
    assert_eq!(one, same);
    assert_ne!(one, other);
}
