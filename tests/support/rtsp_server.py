#!/usr/bin/env python3
"""Cameras for the tests, served over RTSP on 127.0.0.1 by GStreamer's own RTSP server library.

Needs the Debian packages python3-gi and gir1.2-gst-rtsp-server-1.0. Prints one line, `PORT n`, when it listens. Ends
on SIGTERM, and when its standard input closes, so that it does not outlive a test that was killed.

Only elements of plugins-base and plugins-good are used.

gst-rtsp-server has no redirects, and its Python bindings do not reach the response to add one: with --redirect-to a
small server of this program's own answers instead, and there are no cameras.
"""

import argparse
import os
import signal
import socketserver
import ssl
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

ADDRESS = "127.0.0.1"

CAMERA = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=15/1"
JPEG = f"{CAMERA} ! jpegenc ! rtpjpegpay pt=26"
SOUND = "audiotestsrc is-live=true volume=0.1 ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay pt=8"
# One frame of this is 53 MB; VP8 has room for four times as much.
BIG = "videotestsrc is-live=true pattern=black ! video/x-raw,format=I420,width=8192,height=4320,framerate=1/1"

KINDS = {
    "jpeg": f"{JPEG} name=pay0",
    "vp8": f"{CAMERA} ! videoconvert ! vp8enc deadline=1 keyframe-max-dist=15 ! rtpvp8pay pt=96 name=pay0",
    "audio": f"{SOUND} name=pay0",
    "audio-first": f"{SOUND} name=pay0 {JPEG} name=pay1",
    "big": f"{BIG} ! vp8enc deadline=1 cpu-used=16 keyframe-max-dist=1 ! rtpvp8pay pt=96 name=pay0",
}

# The role of whoever may look: with a password when there is one, everybody else otherwise.
ROLE = "viewer"


def mount(text):
    """`/name=KIND` as (path, launch line, whether all clients share it)."""
    path, separator, kind = text.partition("=")
    if not separator or not path.startswith("/"):
        raise argparse.ArgumentTypeError(f"expected /name=KIND, found '{text}'")
    kind, _, file = kind.partition(":")
    if kind == "h264":
        if '"' in file or not os.path.isfile(file):
            raise argparse.ArgumentTypeError(f"{path}: h264:FILE: no such file: '{file}'")
        return path, f'( filesrc location="{file}" ! qtdemux ! rtph264pay pt=96 name=pay0 )', False
    if kind not in KINDS or file:
        raise argparse.ArgumentTypeError(f"{path}: expected h264:FILE or one of {', '.join(KINDS)}, found '{kind}'")
    return path, f"( {KINDS[kind]} )", True


def port(text):
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a number up to 65535, found '{text}'")
    return int(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=port, default=0, help="0 (the default) is any free one")
    parser.add_argument("--mount", type=mount, action="append", default=[], metavar="/NAME=KIND",
                        help=f"a camera: h264:FILE (mp4, ends), {', '.join(KINDS)}; may be repeated")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--auth", choices=["basic", "digest"], default="digest")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="PEM files")
    parser.add_argument("--tcp-only", action="store_true", help="take no other transport")
    parser.add_argument("--redirect-to", metavar="URL", help="answer every DESCRIBE with 302 and this address")
    options = parser.parse_args()
    if (options.user is None) != (options.password is None):
        parser.error("--user and --password need each other")
    if bool(options.mount) == bool(options.redirect_to):
        parser.error("expected --mount, or --redirect-to without --mount")
    for file in options.tls or []:
        if not os.path.isfile(file):
            parser.error(f"--tls: no such file: '{file}'")
    return options


def token():
    viewer = GstRtspServer.RTSPToken()
    viewer.set_string("media.factory.role", ROLE)
    return viewer


def guard(options):
    """What a client needs before it may look."""
    auth = GstRtspServer.RTSPAuth()
    if options.tls:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*options.tls))
    if options.user is None:
        # Without a token for everybody, TLS alone would have every request answered with 401.
        auth.set_default_token(token())
    elif options.auth == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(options.user, options.password), token())
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token())
    return auth


def serve_cameras(options):
    """The port it serves on."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(ADDRESS)
    server.set_service(str(options.port))
    guarded = bool(options.tls) or options.user is not None
    if guarded:
        server.set_auth(guard(options))
    mounts = server.get_mount_points()
    for path, launch, shared in options.mount:
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(launch)
        factory.set_shared(shared)
        if options.tcp_only:
            factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
        if guarded:
            factory.add_role_from_structure(Gst.Structure.new_from_string(
                f"{ROLE}, media.factory.access=true, media.factory.construct=true"))
        mounts.add_factory(path, factory)
    if not server.attach(None):
        sys.exit(f"rtsp_server.py: cannot listen on {ADDRESS}:{options.port}")
    # The main loop does not own it.
    serve_cameras.server = server
    return server.get_bound_port()


class Redirector(socketserver.StreamRequestHandler):
    """One connection of a server that knows another address, and nothing else."""

    def handle(self):
        while line := self.rfile.readline().decode("latin-1").split():
            sequence = 0
            while header := self.rfile.readline().decode("latin-1").strip():
                name, _, value = header.partition(":")
                if name.lower() == "cseq":
                    sequence = value.strip()
            if line[0] == "DESCRIBE":
                answer = f"302 Moved Temporarily\r\nLocation: {self.server.target}"
            else:
                answer = "200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
            status, _, headers = answer.partition("\r\n")
            self.wfile.write(f"RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{headers}\r\n\r\n".encode())


class RedirectServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, options):
        super().__init__((ADDRESS, options.port), Redirector)
        self.target = options.redirect_to
        if options.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*options.tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request, client_address):
        """A client that goes away, or that speaks no TLS, is none of the server's business."""


def serve_redirect(options):
    """The port it serves on."""
    try:
        server = RedirectServer(options)
    except OSError as error:
        sys.exit(f"rtsp_server.py: cannot listen on {ADDRESS}:{options.port}: {error}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    options = arguments()
    loop = GLib.MainLoop()

    def end_with_input():
        sys.stdin.buffer.read()
        GLib.idle_add(loop.quit)

    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, loop.quit)
    bound = serve_redirect(options) if options.redirect_to else serve_cameras(options)
    print(f"PORT {bound}", flush=True)
    threading.Thread(target=end_with_input, daemon=True).start()
    loop.run()
    # At once: clients see their connection end, and nothing waits for media that are still being made.
    os._exit(0)


if __name__ == "__main__":
    main()
