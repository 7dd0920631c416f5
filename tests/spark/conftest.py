"""One Spark session on this machine for all tests of it; where Spark cannot run, they skip and say why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tmmsrec.data.engines.spark import Spark, session

# Of thousands of rows: little is compiled and nothing is cut into hundreds of pieces.
SMALL = "spark.sql.shuffle.partitions 3\nspark.sql.codegen.wholeStage false\nspark.sql.codegen.factoryMode NO_CODEGEN\n"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """An engine whose session runs already, so that no preparation starts its own."""
    if find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed: pip install 'tmmsrec[spark]'")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("there is no Java for Spark: apt-get install openjdk-17-jre-headless")
    settings = tmp_path_factory.mktemp("spark")
    (settings / "spark-defaults.conf").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(settings))
        found, mine = session(Spark("local[2]", memory="1GB"))
    assert mine
    yield Spark()
    found.stop()
