package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/traffic/load"
)

// slow takes a packet of a UDP sender every so often, as a limiter does.
type slow struct {
	first, every time.Duration
	sent         int
}

func (s *slow) Write(b []byte) (int, error) {
	if s.sent == 0 {
		time.Sleep(s.first)
	}
	n := len(b) / udpPayload
	time.Sleep(s.every * time.Duration(n))
	s.sent += n
	return len(b), nil
}

func TestAHeldBackSenderEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 150M are wanted and a third of it is let through.
		l := load.Load{Kind: load.UDP, Rate: 150 * bitrate.Mbit, For: 10 * time.Second}
		conn := &slow{every: 224 * time.Microsecond}
		ctx, cancel := context.WithTimeout(t.Context(), l.For)
		defer cancel()
		start := time.Now()
		flood(ctx, conn, l.Rate)
		if took := time.Since(start); took > l.For+udpBatch*conn.every {
			t.Errorf("a load for %v ended after %v", l.For, took)
		}
		if rate := float64(conn.sent) * udpIPPacket * 8 / l.For.Seconds(); rate < 48e6 || rate > 51e6 {
			t.Errorf("%.1f Mbit/s were sent, want the 50 that are let through", rate/1e6)
		}
	})
}

func TestASenderDoesNotMakeUpForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		conn := &slow{first: 4 * time.Second}
		flood(ctx, conn, 8*bitrate.Mbit)
		// 1 s and what is sent behind its time, of 1 MB a second.
		if got := conn.sent * udpIPPacket; got > 1_150_000 {
			t.Errorf("%d bytes were sent after a pause of 4 s, want at most what 1.1 s hold", got)
		}
	})
}
