"""Recordings of each format, made by hand after what their programs print, and what is wrong with others."""

from pathlib import Path

import pytest
from scenarios import scenario

from zramfs.errors import InvalidValue
from zramfs.simulate import run
from zramfs.simulate.flows import ASYNC_WRITE, READ, SYNC_WRITE
from zramfs.simulate.load_kinds import ReplayLoad
from zramfs.simulate.traces import load_trace

ZRAMFS = """\
{"device":"zram0","op":"write","bytes":8192,"async":true,"streams":{"managed":2},"arrival_us":120.500,"submit_us":121.000,"complete_us":130.000,"reply_us":131.000}
{"lost":3}
{"device":"zram0","op":"discard","bytes":4096,"async":false,"streams":{},"arrival_us":125.000,"submit_us":125.0,"complete_us":126.0,"reply_us":127.0}
{"device":"zram0","op":"write","bytes":4096,"async":false,"streams":{"percpu":1},"arrival_us":100.500,"submit_us":101.000,"complete_us":110.000,"reply_us":111.000}
{"device":"zram0","op":"read","bytes":4096,"async":false,"streams":{},"arrival_us":150.500,"submit_us":151.000,"complete_us":152.000,"reply_us":153.000}
"""

BLKPARSE = """\
  8,0    3        1     0.000100000   697  Q   W 223490 + 16 [kjournald]
  8,0    3        2     0.000101000   697  G   W 223490 + 16 [kjournald]
  8,0    3        3     0.000120000   697  Q  WS 223496 + 8 [kjournald]
  8,0    1       10     0.000150000   701  Q   R 64 + 8 [cat]
  8,0    1       11     0.000160000   701  Q   D 64 + 8 [fstrim]
CPU0 (8,0):
"""

FIO_3 = """\
fio version 3 iolog
49 /mnt/file add
209 /mnt/file open
1000 /mnt/file write 4096 8192
1020 /mnt/file write 0 4096
1050 /mnt/file read 61440 4096
1060 /mnt/file close
"""

FIO_2 = """\
fio version 2 iolog
/mnt/file add
/mnt/file open
/mnt/file write 4096 8192
/mnt/file wait 20 0
/mnt/file write 0 4096
/mnt/file wait 30 0
/mnt/file read 61440 4096
/mnt/file close
"""

CSV = "time,offset,size,operation\n5.0001,4096,8192,w\n5.00012,0,4096,ws\n5.00015,61440,4096,R\n"

RECORDINGS = {
    "zramfs": (ZRAMFS, [(0, 1, SYNC_WRITE), (20_000, 2, ASYNC_WRITE), (50_000, 1, READ)], 2),
    "blkparse": (BLKPARSE, [(0, 3, ASYNC_WRITE), (20_000, 1, SYNC_WRITE), (50_000, 1, READ)], 3),
    "fio": (FIO_3, [(0, 2, ASYNC_WRITE), (20_000, 1, ASYNC_WRITE), (50_000, 1, READ)], 4),
    "fio ": (FIO_2, [(0, 2, ASYNC_WRITE), (20_000, 1, ASYNC_WRITE), (50_000, 1, READ)], 6),
    "csv": (CSV, [(0, 2, ASYNC_WRITE), (20_000, 1, SYNC_WRITE), (50_000, 1, READ)], 1),
}


def written(folder: Path, content: str) -> Path:
    path = folder / "recording"
    path.write_text(content)
    return path


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("is_guessed", [False, True])
def test_a_recording_is_its_reads_and_writes_in_their_order(name: str, *, is_guessed: bool, tmp_path: Path) -> None:
    content, expected, skipped = RECORDINGS[name]
    trace = load_trace(written(tmp_path, content), "auto" if is_guessed else name.strip())
    assert list(zip(trace.arrivals_ns, trace.pages, trace.kinds, strict=True)) == expected
    assert trace.skipped == skipped


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "auto", "there is no read or write in it"),
        ("junk\n", "csv", "there is no read or write in it"),
        (CSV + "junk\n", "auto", "line 5 is none of csv: 'junk'"),
        (CSV + "5.1,-4096,4096,r\n", "auto", "line 5: 4096 bytes from -4096"),
        (CSV + "5.1,0,0,r\n", "auto", "line 5: 0 bytes from 0"),
        (ZRAMFS + "{}\n", "auto", "line 6 is none of zramfs"),
        ("fio version 1 iolog\n", "fio", "line 1: fio's iolog of version 2 or 3 is read"),
        (FIO_3 + "1070 /mnt/file write x 4096\n", "auto", "line 8 is none of fio"),
    ],
)
def test_a_bad_line_is_named(content: str, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as error:
        load_trace(written(tmp_path, content), name)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.1,0,4096,w\ninf,0,4096,w\n", "line 2 is none of csv"),
        ("0.1,0,4096,w\n1e300,0,4096,w\n", "line 2 is none of csv"),
        ("0.1,0,4096,w\n1e15,0,4096,w\n", r"line 2: its time is more than 4\.6e\+09 s"),
        ("fio version 2 iolog\n/x wait 99999999999999999999 0\n/x read 0 4096\n", "line 3: its time is more than"),
        ('{"op":"read","async":false,"bytes":"4096","arrival_us":1}\n', "line 1 is none of zramfs"),
        ('{"op":"read","async":false,"bytes":4096.5,"arrival_us":1}\n', "line 1 is none of zramfs"),
        ('{"op":"read","async":false,"bytes":4096,"arrival_us":1e400}\n', "line 1 is none of zramfs"),
        ('{"op":' + "[" * 100_000 + "\n", "line 1 is none of zramfs"),
    ],
)
def test_numbers_that_no_recording_has_are_one_line(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=message):
        load_trace(written(tmp_path, content))


def test_a_byte_order_mark_is_no_heading(tmp_path: Path) -> None:
    assert len(load_trace(written(tmp_path, "\ufeff" + "0.1,0,4096,w\n0.2,0,4096,r\n"))) == 2


def test_a_binary_file_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(b"\x80\xff\x00" * 100)
    with pytest.raises(InvalidValue, match="is not text: of a binary trace, give what blkparse prints"):
        load_trace(path)


def test_a_recording_is_replayed_at_its_times_and_faster(tmp_path: Path) -> None:
    trace = load_trace(written(tmp_path, CSV))

    def ends_us(speed: float) -> list[float]:
        load = ReplayLoad(name="replay", trace=trace, path="", speed=speed)
        latencies = run(scenario(load, duration_us=1000.0)).latencies
        return [latencies[name].mean_us for name in ("async_writes", "sync_writes", "reads")]

    assert ends_us(1.0) == pytest.approx([20.0, 10.0, 3.0])
    assert ends_us(4.0) == pytest.approx([20.0, 25.0, 20.5])
