// Package certstest has two sides shake hands, for tests.
package certstest

import (
	"crypto/tls"
	"errors"
	"testing"
)

// Handshake returns what either side has to say against the other.
func Handshake(t testing.TB, server, client *tls.Config) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = conn.(*tls.Conn).HandshakeContext(t.Context())
			conn.Close()
		}
		served <- err
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err == nil {
		conn.Close()
	}
	return errors.Join(err, <-served)
}
