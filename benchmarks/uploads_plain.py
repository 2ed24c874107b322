"""An endpoint as one would write it: `python uploads_plain.py FOLDER PORT`. Files are synced before the answer."""

from __future__ import annotations

import os
import shutil
import sys
import uuid

import uvicorn
from fastapi import FastAPI, UploadFile

app = FastAPI()
FOLDER = sys.argv[1]


@app.post("/upload", status_code=201)
def upload(file: UploadFile) -> dict[str, str]:
    """Write, sync, rename, sync the folder."""
    name = str(uuid.uuid4())
    path = os.path.join(FOLDER, name)
    with open(f"{path}.part", "xb") as out:
        shutil.copyfileobj(file.file, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
    os.rename(f"{path}.part", path)
    folder = os.open(FOLDER, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return {"id": name}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
