"""An app server that stands between its own users and the deployment, as FastAPI's users build one.

It keeps one client for everybody, and makes one for a request that comes in a user's name.
"""

import asyncio
import os
from typing import Annotated

from convex import ConvexClient, ConvexError
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse, StreamingResponse

URL = os.environ["CONVEX_URL"]
app = FastAPI()
shared = ConvexClient(URL)


def client_of_user(authorization: Annotated[str, Header()]):
    client = ConvexClient(URL)
    client.set_auth(authorization.removeprefix("Bearer "))
    return client


@app.exception_handler(ConvexError)
def refused(_request, error):
    return JSONResponse({"data": error.data}, status_code=422)


@app.get("/sets/{name}")
def count(name: str):
    return {"count": shared.query("live:count", {"set": name})}


@app.post("/sets/{name}", status_code=201)
def add(name: str):
    return {"count": shared.mutation("live:add", {"set": name})}


@app.post("/sets/{name}/several", status_code=201)
def add_several(name: str, times: int):
    return shared.action("several:add", {"set": name, "times": times})


@app.get("/sets/{name}/changes")
async def changes(name: str):
    """Each count on a line of its own, as it changes, until whoever asked has gone."""

    async def lines():
        subscription = shared.subscribe("live:count", {"set": name})
        try:
            async for count in subscription:
                yield f"{int(count)}\n"
        finally:
            subscription.unsubscribe()

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/me")
def me(client: Annotated[ConvexClient, Depends(client_of_user)]):
    subject = client.query("live:whoAmI")
    if subject is None:
        raise HTTPException(401)
    return {"subject": subject}


@app.post("/me/sets/{name}", status_code=201)
def add_mine(name: str, client: Annotated[ConvexClient, Depends(client_of_user)]):
    return {"count": client.mutation("live:add", {"set": name}), "action": client.action("several:add", {"set": name, "times": 2})}


@app.get("/refused")
async def refuse():
    return await asyncio.to_thread(shared.query, "calls:failing", {"how": "convex error", "data": {"code": 7}})
