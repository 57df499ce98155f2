import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kerasreg.datasets import idx


def idx_bytes(array, code=0x08, big_endian=">u1"):
    """A file by hand, as the format says."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(big_endian).tobytes()


CODES = {
    "uint8": (0x08, ">u1"),
    "int8": (0x09, ">i1"),
    "int16": (0x0B, ">i2"),
    "int32": (0x0C, ">i4"),
    "float32": (0x0D, ">f4"),
    "float64": (0x0E, ">f8"),
}
SMALL = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
PACKED = gzip.compress(SMALL)
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", CODES)
def test_every_dtype_comes_back_in_native_order(tmp_path, dtype, packed):
    array = np.random.default_rng(0).integers(-100, 100, (5, 2, 3)).astype(dtype)
    content = idx_bytes(array, *CODES[dtype])
    path = tmp_path / "values"
    path.write_bytes(gzip.compress(content) if packed else content)
    read = idx.read(path)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@shared_folder
@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_any_shape_round_trips(tmp_path, array):
    path = tmp_path / "values"
    path.write_bytes(idx_bytes(array))
    read = idx.read(path, rank=array.ndim)
    assert read.shape == array.shape == idx.shape(path)
    np.testing.assert_array_equal(read, array)


@shared_folder
@given(length=st.integers(0, len(SMALL) - 1))
def test_cut_short_at_any_byte(tmp_path, length):
    path = tmp_path / "short"
    path.write_bytes(SMALL[:length])
    with pytest.raises(ValueError, match=r"short'") as caught:
        idx.read(path)
    assert str(caught.value).count("\n") == 0
    if length >= 16:
        assert "24 bytes of values" in str(caught.value)
        assert f"with {length - 16};" in str(caught.value)


@shared_folder
@given(length=st.integers(2, len(PACKED) - 1))
def test_gzip_cut_short_at_any_byte(tmp_path, length):
    path = tmp_path / "short.gz"
    path.write_bytes(PACKED[:length])
    with pytest.raises(ValueError, match=r"short\.gz'"):
        idx.read(path)


def test_gzip_with_a_flipped_byte(tmp_path):
    damaged = bytearray(PACKED)
    damaged[-8] ^= 0xFF  # in the checksum
    path = tmp_path / "flipped.gz"
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"whole gzip file.*flipped\.gz'.*CRC"):
        idx.read(path)


@pytest.mark.parametrize("packed", [False, True])
def test_trailing_bytes(tmp_path, packed):
    path = tmp_path / "long"
    path.write_bytes(gzip.compress(SMALL + b"!") if packed else SMALL + b"!")
    with pytest.raises(ValueError, match=r"24 bytes.*\(2, 3, 4\).*long' with more than 24.*followed by"):
        idx.read(path)


@pytest.mark.parametrize(
    ("content", "begins"),
    [
        (b"", "nothing"),
        (b"\x00\x00\x08", "00 00 08"),
        (b"\x89PNG" + SMALL, "89 50 4e 47"),
        (b"\x00\x00\x07\x01" + SMALL, "00 00 07 01"),
        (b"\x00\x00\x08\x00" + SMALL, "00 00 08 00"),
        (b"\x00\x00\x08\xff" + SMALL, "00 00 08 ff"),
    ],
)
def test_bad_magic(tmp_path, content, begins):
    path = tmp_path / "alien"
    path.write_bytes(content)
    for reader in (idx.read, idx.shape):
        with pytest.raises(ValueError, match=f"two zero bytes.*0x08.*alien' that begins with {begins}"):
            reader(path)


def test_wrong_rank(tmp_path):
    path = tmp_path / "cube"
    path.write_bytes(SMALL)
    with pytest.raises(ValueError, match=r"of rank 1, got .*cube' of rank 3"):
        idx.read(path, rank=1)


@pytest.mark.parametrize("packed", [False, True])
def test_a_claim_of_2_to_the_40_images_costs_no_memory(tmp_path, packed):
    content = struct.pack(">BBBB4I", 0, 0, 0x08, 4, 2**20, 2**20, 28, 28) + bytes(1000)
    path = tmp_path / "boast"
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"\(1048576, 1048576, 28, 28\).*boast' with 1000;"):
            idx.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**24


def test_sizes_whose_product_overflows(tmp_path):
    path = tmp_path / "absurd"
    path.write_bytes(struct.pack(">BBBB3I", 0, 0, 0x08, 3, *[2**32 - 1] * 3) + bytes(10))
    with pytest.raises(
        ValueError, match=r"absurd' whose header claims \(4294967295, 4294967295, 4294967295\)"
    ):
        idx.read(path)
