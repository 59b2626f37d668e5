"""Faults and the log of requests, and which error the real client makes of each fault."""

import json

import httpx2
import openai
import pytest

from ft_sync.sandbox import Sandbox


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_each_status_raises_its_error(
    server: Sandbox, client: openai.OpenAI, status: int, error: type[openai.APIStatusError]
) -> None:
    server.fail("/jobs", status=status)
    with pytest.raises(error):
        client.fine_tuning.jobs.list()


def test_body_and_headers_can_be_given(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail(
        "/content$",
        status=400,
        body={"error": {"message": "not for free accounts", "code": "free"}},
        headers={"Retry-After": "7"},
    )
    with pytest.raises(openai.BadRequestError, match="not for free accounts") as refused:
        client.files.content("file-any")
    assert refused.value.code == "free"
    assert refused.value.response.headers["retry-after"] == "7"


def test_a_body_that_is_no_json_is_served_as_it_is(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail("/jobs$", body="{ half")
    with pytest.raises(json.JSONDecodeError):
        client.fine_tuning.jobs.list()


def test_a_dropped_connection_is_a_connection_error(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail("/jobs", drop=True)
    with pytest.raises(openai.APIConnectionError) as dropped:
        client.fine_tuning.jobs.list()
    assert not isinstance(dropped.value, openai.APITimeoutError)


def test_a_delay_beyond_the_timeout_is_a_timeout(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail("/jobs", delay=0.3)
    with pytest.raises(openai.APITimeoutError):
        client.fine_tuning.jobs.list(timeout=0.05)


def test_a_truncated_body_breaks_off(server: Sandbox, client: openai.OpenAI) -> None:
    file_id = server.world.jobs[-1].job["training_file"]
    server.fail("/content$", truncate=1000)
    with client.files.with_streaming_response.content(file_id) as response:
        chunks = response.iter_bytes()
        assert len(next(chunks)) == 1000
        with pytest.raises(httpx2.RemoteProtocolError, match="without sending complete message body"):
            next(chunks)


def test_a_fault_acts_as_often_as_told(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail("/jobs", status=503, times=2)
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            client.fine_tuning.jobs.list()
    assert client.fine_tuning.jobs.list().data


def test_retries_of_the_client_get_past_a_passing_fault(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail("/jobs", status=429, headers={"Retry-After-Ms": "1"}, times=2)
    assert client.with_options(max_retries=2).fine_tuning.jobs.list().data
    assert server.count("/jobs") == 3


def test_a_fault_can_hit_the_second_page_only(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail("after=", status=500)
    page = client.fine_tuning.jobs.list(limit=3)
    with pytest.raises(openai.InternalServerError):
        page.get_next_page()


def test_other_routes_are_spared(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail(r"/events$", status=404)
    job_id = server.world.jobs[0].id
    assert client.fine_tuning.jobs.retrieve(job_id).id == job_id
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.list_events(job_id)


def test_healing_takes_faults_back(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail("", status=500)
    server.latency = 100
    server.heal()
    assert client.fine_tuning.jobs.list().data


def test_latency_slows_every_answer(server: Sandbox, client: openai.OpenAI) -> None:
    server.latency = 0.3
    with pytest.raises(openai.APITimeoutError):
        client.models.list(timeout=0.05)


def test_a_delay_that_ends_in_time_only_delays(server: Sandbox, client: openai.OpenAI) -> None:
    server.fail("/jobs", delay=0.01)
    assert client.fine_tuning.jobs.list().data


def test_requests_are_logged_in_order(server: Sandbox, client: openai.OpenAI) -> None:
    client.fine_tuning.jobs.list(limit=2, metadata={"team": "counter"})
    client.models.list()
    assert [(request.method, request.path, request.query) for request in server.requests] == [
        ("GET", "/v1/fine_tuning/jobs", "limit=2&metadata[team]=counter"),
        ("GET", "/v1/models", ""),
    ]
    assert server.requests[0].time <= server.requests[1].time


def test_requests_can_be_counted_and_forgotten(server: Sandbox, client: openai.OpenAI) -> None:
    client.models.list()
    client.files.list()
    assert (server.count(), server.count("/v1/files"), server.count(r"models$")) == (2, 1, 1)
    server.forget()
    assert server.count() == 0


def test_the_log_has_the_headers(server: Sandbox, client: openai.OpenAI) -> None:
    client.with_options(organization="org-x", project="proj-y").models.list()
    headers = server.requests[0].headers
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-x", "proj-y")
