//! Decoding MPEG transport stream segments by GStreamer's command-line tool, so that the lab links no media library.

use super::picture::Picture;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdout, Command};

/// How long decoding one segment may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A transport stream packet (ISO/IEC 13818-1, 2.4.3.2).
const PACKET: usize = 188;
/// With which each begins.
const SYNC_BYTE: u8 = 0x47;

/// The last picture of a segment.
///
/// # Errors
/// When it holds no H.264 picture.
pub async fn last_picture(segment: Vec<u8>, width: usize, height: usize) -> Result<Picture> {
    ensure_transport_stream(&segment)?;
    let pipeline = format!(
        "fdsrc fd=0 ! video/mpegts,systemstream=true ! tsdemux ! h264parse ! avdec_h264 ! videoconvert \
         ! videoscale ! video/x-raw,format=RGB,width={width},height={height},pixel-aspect-ratio=1/1 \
         ! fdsink fd=1 sync=false"
    );
    let last = launch(&pipeline, segment, async |mut output| {
        let mut last = None;
        while let Some(picture) = next_picture(&mut output, width, height).await? {
            last = Some(picture);
        }
        Ok(last)
    })
    .await?;
    last.context("the segment holds no picture")
}

/// So many pictures per second of a Matroska file with H.264.
///
/// # Errors
/// When the file holds no such picture.
pub async fn pictures_of_file(
    file: &Path,
    width: usize,
    height: usize,
    per_second: u32,
) -> Result<Vec<Picture>> {
    let pipeline = format!(
        "filesrc location={} ! matroskademux ! h264parse ! avdec_h264 ! videoconvert ! videorate ! videoscale \
         ! video/x-raw,format=RGB,width={width},height={height},framerate={per_second}/1 ! fdsink fd=1 sync=false",
        file.display()
    );
    let pictures = launch(&pipeline, Vec::new(), async |mut output| {
        let mut pictures = Vec::new();
        while let Some(picture) = next_picture(&mut output, width, height).await? {
            pictures.push(picture);
        }
        Ok(pictures)
    })
    .await?;
    ensure!(!pictures.is_empty(), "{} holds no picture", file.display());
    Ok(pictures)
}

/// The root mean square of a segment's sound, where 1 is full scale; 0 when it has none.
///
/// # Errors
/// When its sound is no AAC.
pub async fn loudness(segment: Vec<u8>) -> Result<f64> {
    ensure_transport_stream(&segment)?;
    if !carries_sound(&segment) {
        return Ok(0.0);
    }
    let pipeline = "fdsrc fd=0 ! video/mpegts,systemstream=true ! tsdemux ! aacparse ! avdec_aac ! audioconvert \
                    ! audio/x-raw,format=S16LE,channels=1 ! fdsink fd=1 sync=false";
    let samples = run(pipeline, segment).await?;
    let squares =
        samples.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])).powi(2));
    let count = samples.len() / 2;
    if count == 0 {
        return Ok(0.0);
    }
    Ok((squares.sum::<f64>() / count as f64).sqrt() / f64::from(i16::MAX))
}

/// What is something else would leave GStreamer waiting for ever.
fn ensure_transport_stream(segment: &[u8]) -> Result<()> {
    let whole = !segment.is_empty() && segment.len().is_multiple_of(PACKET);
    ensure!(
        whole && segment.chunks_exact(PACKET).all(|packet| packet[0] == SYNC_BYTE),
        "the segment, {} bytes, is no MPEG transport stream",
        segment.len()
    );
    Ok(())
}

/// Whether a packet of the segment begins a piece of sound: stream ids 0xC0 to 0xDF (ISO/IEC 13818-1, table 2-22).
fn carries_sound(segment: &[u8]) -> bool {
    segment.chunks_exact(PACKET).any(|packet| {
        let begins_piece = packet[1] & 0x40 != 0;
        // An adaptation field stands before the payload; its first byte is its length.
        let payload = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        begins_piece && matches!(packet.get(payload..payload + 4), Some([0, 0, 1, 0xc0..=0xdf]))
    })
}

impl Picture {
    /// Writes it as a PNG file.
    ///
    /// # Errors
    /// When GStreamer's tools fail or the file cannot be written.
    pub async fn save_png(&self, path: &Path) -> Result<()> {
        let (width, height) = (self.width(), self.height());
        let pipeline = format!(
            "fdsrc fd=0 blocksize={} ! rawvideoparse format=rgb width={width} height={height} \
             plane-strides=<{}> ! videoconvert ! pngenc snapshot=true ! fdsink fd=1",
            self.rgb().len(),
            width * 3
        );
        let file = run(&pipeline, self.rgb().to_vec()).await?;
        std::fs::write(path, file).with_context(|| format!("write {}", path.display()))
    }
}

/// What a pipeline makes that reads nothing and writes on descriptor 1.
///
/// # Errors
/// When GStreamer's tools fail.
pub async fn encode(pipeline: &str) -> Result<Vec<u8>> {
    run(pipeline, Vec::new()).await
}

/// All that a pipeline writes.
async fn run(pipeline: &str, input: Vec<u8>) -> Result<Vec<u8>> {
    launch(pipeline, input, async |mut output| {
        let mut written = Vec::new();
        output.read_to_end(&mut written).await?;
        Ok(written)
    })
    .await
}

/// Runs a pipeline that reads `input` on descriptor 0 and writes on descriptor 1, where `read` takes it.
async fn launch<T>(
    pipeline: &str,
    input: Vec<u8>,
    read: impl AsyncFnOnce(ChildStdout) -> Result<T>,
) -> Result<T> {
    let mut child = Command::new("gst-launch-1.0")
        .arg("--quiet")
        .args(pipeline.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("run gst-launch-1.0 (Debian package gstreamer1.0-tools)")?;
    let mut stdin = child.stdin.take().context("gst-launch-1.0 takes input")?;
    let stdout = child.stdout.take().context("gst-launch-1.0 gives output")?;
    let feed = async move {
        // A pipeline that has failed, or has what it needs, stops reading; its exit says which.
        match stdin.write_all(&input).await {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    };
    let work = async { tokio::try_join!(feed, read(stdout), async { Ok(child.wait_with_output().await?) }) };
    let ((), result, output) = tokio::time::timeout(TIMEOUT, work)
        .await
        .with_context(|| format!("decoding took more than {} s", TIMEOUT.as_secs()))??;
    if !output.status.success() {
        bail!("gst-launch-1.0 failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(result)
}

/// Reads a raw picture; `None` at the end.
async fn next_picture(output: &mut ChildStdout, width: usize, height: usize) -> Result<Option<Picture>> {
    // GStreamer pads rows of RGB to a multiple of four bytes.
    let padded = (width * 3).next_multiple_of(4);
    let mut frame = vec![0; padded * height];
    match output.read_exact(&mut frame).await {
        Ok(_) => {
            let rows = frame.chunks_exact(padded).flat_map(|row| &row[..width * 3]).copied().collect();
            Picture::new(width, height, rows).map(Some)
        }
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error).context("read pictures"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::PatternColour;
    use super::*;

    /// A segment as the RTMP ingest makes them.
    async fn segment(elements: &str) -> Vec<u8> {
        encode(&format!("{elements} mpegtsmux name=mux ! fdsink fd=1")).await.expect("encode")
    }

    /// Red first, then blue, both with a ball.
    const PICTURES: &str = "concat name=all ! videoconvert ! video/x-raw,format=I420 \
         ! x264enc tune=zerolatency speed-preset=ultrafast ! video/x-h264,profile=constrained-baseline ! mux. \
         videotestsrc num-buffers=5 pattern=ball background-color=0xffc02020 ! video/x-raw,width=320,height=180 ! all. \
         videotestsrc num-buffers=5 pattern=ball background-color=0xff2020c0 ! video/x-raw,width=320,height=180 ! all.";

    #[tokio::test]
    async fn the_last_picture_is_seen() {
        let picture = last_picture(segment(PICTURES).await, 90, 50).await.expect("a picture");
        assert_eq!((picture.width(), picture.height()), (90, 50));
        assert_eq!(picture.pattern(), Some(PatternColour::Blue), "{picture:?}");
    }

    #[tokio::test]
    async fn sound_is_heard_and_silence_is_not() {
        let sound = |volume: &str| {
            format!(
                "audiotestsrc num-buffers=50 volume={volume} ! audioconvert ! avenc_aac ! aacparse ! mux. {PICTURES}"
            )
        };
        let loud = loudness(segment(&sound("0.3")).await).await.expect("sound");
        // A sine of amplitude 0.3.
        assert!((loud - 0.212).abs() < 0.03, "{loud}");
        assert!(loudness(segment(&sound("0")).await).await.expect("silence") < 0.001);
        assert!(loudness(segment(PICTURES).await).await.expect("no track").abs() < f64::EPSILON);
    }

    #[tokio::test]
    async fn what_is_no_segment_is_refused() {
        for text in [b"<html>".repeat(94), Vec::new(), b"G".to_vec()] {
            let error = last_picture(text, 90, 50).await.expect_err("no segment").to_string();
            assert!(error.contains("is no MPEG transport stream"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_picture_is_saved_as_png() {
        let path = std::env::temp_dir().join(format!("memorialstream-viewer-{}.png", std::process::id()));
        let picture = Picture::new(31, 10, vec![0x40; 31 * 10 * 3]).expect("a picture");
        picture.save_png(&path).await.expect("save");
        let written = std::fs::read(&path).expect("read");
        std::fs::remove_file(&path).expect("remove");
        assert!(written.starts_with(b"\x89PNG\r\n"));
        // IHDR: width and height.
        assert_eq!(written[16..24], [0, 0, 0, 31, 0, 0, 0, 10]);
    }
}
