"""Try to make an OpenGL context and name its renderer; run as a script, in a process of its own.

A broken driver can crash or hang whoever loads it, so this never happens in the caller's
process. Only the standard library is needed: ``python gl_probe.py egl|osmesa`` writes the
renderer's name and exits with 0, or writes the reason and exits with 1.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import c_char_p, c_int, c_uint, c_void_p
from typing import Any

GL_RENDERER = 0x1F01
GL_UNSIGNED_BYTE = 0x1401
OSMESA_RGBA = 0x1908
EGL_PLATFORM_DEVICE_EXT = 0x313F
EGL_OPENGL_API = 0x30A2
# What dm_control and MuJoCo ask for: 8 bits a colour, 24 of depth, 8 of stencil, an RGB
# buffer, off screen, desktop OpenGL; closed by EGL_NONE.
EGL_CONFIG = (
    *(0x3024, 8, 0x3023, 8, 0x3022, 8, 0x3021, 8, 0x3025, 24, 0x3026, 8),
    *(0x303F, 0x308E, 0x3033, 0x0001, 0x3040, 0x0008, 0x3038),
)


def _library(*names: str) -> ctypes.CDLL:
    for name in names:
        try:
            return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    raise RuntimeError(f"{names[0]} is not installed")


def _function(address: int | None, name: str, result: Any, *arguments: Any) -> Any:
    if not address:
        raise RuntimeError(f"{name} is missing")
    return ctypes.CFUNCTYPE(result, *arguments)(address)


def _egl_devices(get: Any) -> list[c_void_p]:
    """The devices that dm_control would try: all, or the one of MUJOCO_EGL_DEVICE_ID."""
    query = _function(
        get(b"eglQueryDevicesEXT"), "eglQueryDevicesEXT", c_uint, c_int, c_void_p, c_void_p
    )
    handles, count = (c_void_p * 10)(), c_int()
    if not query(10, ctypes.byref(handles), ctypes.byref(count)):
        raise RuntimeError("EGL finds no device")
    devices = [c_void_p(handles[i]) for i in range(count.value)]
    wanted = os.environ.get("MUJOCO_EGL_DEVICE_ID")
    return devices if wanted is None else devices[int(wanted) : int(wanted) + 1]


def _egl_display(egl: ctypes.CDLL, get: Any) -> c_void_p:
    display_of = _function(
        get(b"eglGetPlatformDisplayEXT"),
        *("eglGetPlatformDisplayEXT", c_void_p, c_uint, c_void_p, c_void_p),
    )
    for device in _egl_devices(get):
        display = c_void_p(display_of(EGL_PLATFORM_DEVICE_EXT, device, None))
        if display and egl.eglInitialize(display, None, None):
            return display
    raise RuntimeError("EGL cannot open a headless display")


def egl() -> str:
    """The renderer behind the first EGL device that works."""
    library = _library("libEGL.so.1")
    get = library.eglGetProcAddress
    get.restype, get.argtypes = c_void_p, [c_char_p]
    display = _egl_display(library, get)
    attributes, config, found = (c_int * len(EGL_CONFIG))(*EGL_CONFIG), c_void_p(), c_int()
    library.eglChooseConfig(display, attributes, ctypes.byref(config), 1, ctypes.byref(found))
    library.eglBindAPI(EGL_OPENGL_API)
    create = library.eglCreateContext
    create.restype, create.argtypes = c_void_p, [c_void_p] * 4
    context = c_void_p(create(display, config, None, None))
    if not context or not library.eglMakeCurrent(display, None, None, context):
        raise RuntimeError("EGL cannot make an OpenGL context")
    return _name(get(b"glGetString"))


def osmesa() -> str:
    """The renderer of the off-screen Mesa library."""
    library = _library("libOSMesa.so", "libOSMesa.so.8", "libOSMesa.so.6")
    create = library.OSMesaCreateContextExt
    create.restype, create.argtypes = c_void_p, [c_uint, c_int, c_int, c_int, c_void_p]
    context = c_void_p(create(OSMESA_RGBA, 24, 8, 0, None))
    buffer = (ctypes.c_ubyte * (4 * 16 * 16))()
    if not context or not library.OSMesaMakeCurrent(context, buffer, GL_UNSIGNED_BYTE, 16, 16):
        raise RuntimeError("OSMesa cannot make an OpenGL context")
    get = library.OSMesaGetProcAddress
    get.restype, get.argtypes = c_void_p, [c_char_p]
    return _name(get(b"glGetString"))


def _name(address: int | None) -> str:
    text = _function(address, "glGetString", c_char_p, c_uint)(GL_RENDERER)
    if not text:
        raise RuntimeError("the OpenGL context is unusable")
    return str(text.decode(errors="replace"))


def main(backend: str) -> int:
    """Probe one backend; see the module's text."""
    try:
        sys.stdout.write({"egl": egl, "osmesa": osmesa}[backend]())
    except (RuntimeError, AttributeError, ValueError) as error:
        sys.stdout.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
