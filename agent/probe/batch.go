package probe

import (
	"os"

	"golang.org/x/sys/unix"
)

// Room for one packet: whatever an interface takes, and the headers with which
// the kernel loops one back. Each begins at another offset of its page, so that
// the beginnings of all do not compete for the same lines of the cache.
const (
	maxPacket  = 65535 + 64
	packetRoom = 68 << 10
	cacheLine  = 64
)

// batch is the memory of one sendmmsg or recvmmsg call. The packets are outside
// of Go's heap: pages that no packet has reached cost nothing there, and the
// collector does not count them.
type batch struct {
	headers [batchSize]unix.Mmsghdr
	vectors [batchSize]unix.Iovec
	names   [batchSize][unix.SizeofSockaddrInet6]byte
	packets [batchSize][]byte
	control [batchSize][metaSize]byte
	memory  []byte
}

func (b *batch) open() error {
	memory, err := unix.Mmap(-1, 0, batchSize*packetRoom, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return os.NewSyscallError("mmap for packets", err)
	}
	_ = unix.Madvise(memory, unix.MADV_NOHUGEPAGE) // a huge page would be resident for one packet
	b.memory = memory
	for i := range b.packets {
		from := i*packetRoom + i%16*cacheLine
		b.packets[i] = memory[from : from+maxPacket : from+maxPacket]
	}
	return nil
}

func (b *batch) close() {
	if b.memory == nil {
		return
	}
	_ = unix.Munmap(b.memory) // cannot fail with what Mmap returned
	b.memory, b.packets = nil, [batchSize][]byte{}
}
