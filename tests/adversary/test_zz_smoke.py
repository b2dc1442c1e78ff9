import pytest
from tests.adversary.stage import Stage
async def test_smoke(tmp_path):
    async with Stage(tmp_path) as stage:
        await stage.delegate("alpha")
        client = stage.client()
        s = await client.store("account.token", b"value")
        assert (await client.reveal("account.token")).reveal() == b"value"
        await client.delete("account.token")
        w = stage.world
        sec = w.secret("x"); v = w.store(sec, b"abc")
        await stage.publish()
        await stage.teach("alpha")
        t = w.reveal([v])
        r = await stage.evil.give("alpha", t.compact, stored=[v.record.raw])
        print(stage.opened(t, r), [i.reveal() for i in stage.opened(t,r)])
