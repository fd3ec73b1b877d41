package snowflake

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// transferred returns the bytes that the other end of a connection has acknowledged and
// those that it has sent; 0: the connection is closed. They are not known if the system
// does not count them, as some sandboxes do not: an open connection has bytes of its own
// handshake.
func transferred(c net.Conn) (bytes uint64, known bool) {
	socket, ok := socketOf(c).(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	var info *unix.TCPInfo
	var failed error
	if err := raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil {
		return 0, true // closed
	}
	if failed != nil || info.Bytes_acked+info.Bytes_received == 0 {
		return 0, false
	}
	return info.Bytes_acked + info.Bytes_received, true
}
