"""`octet probe` against the real server: what scripts and health checks of containers see."""

from __future__ import annotations

import os
import subprocess

from conftest import ROOT, serve


def probe(address: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ["OCTET_BINARY"], "probe", "--address", address, *arguments],
                          capture_output=True, text=True, timeout=120)


def test_a_ready_server_serves(int8_server):
    answer = probe(int8_server.grpc_address)
    assert (answer.returncode, answer.stdout) == (0, f"{int8_server.grpc_address}: SERVING\n")
    assert probe(int8_server.grpc_address,
                 "--service", "inference.GRPCInferenceService").returncode == 0
    unknown = probe(int8_server.grpc_address, "--service", "unheard.Of")
    assert unknown.returncode == 1 and "unheard.Of" in unknown.stderr


def test_a_server_whose_model_failed_does_not(tmp_path):
    (tmp_path / "models" / "bad" / "1").mkdir(parents=True)
    (tmp_path / "models" / "bad" / "1" / "model.onnx").write_bytes(b"not a model")
    with serve(tmp_path, f"model_repository: {tmp_path}/models", ready=False) as server:
        answer = probe(server.grpc_address)
        assert answer.returncode == 1 and "NOT_SERVING" in answer.stderr
        server.stop()
        gone = probe(server.grpc_address)
        assert gone.returncode == 1 and server.grpc_address in gone.stderr


def test_wrong_arguments_have_an_exit_code_of_their_own():
    assert probe("127.0.0.1:1", "--tls-key", "key.pem").returncode == 2


def test_encrypted_servers_are_asked_over_tls(tmp_path):
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=octet",
                    "-addext", "subjectAltName=DNS:octet.test", "-keyout", key,
                    "-out", certificate], check=True, capture_output=True)
    config = tmp_path / "octet.yaml"
    config.write_text(f"model_repository: {ROOT}/examples/models\n"
                      "server: {address: 127.0.0.1, grpc_port: 0, http_port: 0, "
                      f"tls: {{certificate: {certificate}, key: {key}}}}}\n")
    with serve(tmp_path, None, file=config) as server:
        trusted = ["--tls-ca", str(certificate)]
        assert probe(server.grpc_address, *trusted,
                     "--tls-server-name", "octet.test").returncode == 0
        assert probe(server.grpc_address, *trusted).returncode == 1  # not the name of the address
        assert probe(server.grpc_address).returncode == 1
