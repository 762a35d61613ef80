// Package kernel tells when limits are in force on the senders' node.
package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/scene"
)

// Limited is a rate that the senders' node was told to keep one of them to.
type Limited struct {
	At time.Time
	To bitrate.Rate // of frames
}

// FirstBelow is how long after an onset a sender was first kept to less than that.
func FirstBelow(limits []Limited, onset time.Time, rate bitrate.Rate) (time.Duration, bool) {
	for _, l := range limits {
		if l.At.After(onset) && l.To < rate {
			return l.At.Sub(onset), true
		}
	}
	return 0, false
}

// Watch notes the limits that are put in force on the senders' node from now on, as its
// kernel tells (RTM_NEWTCLASS, rtnetlink(7)): what a client of the API server sees of them is
// the record, which may come later. What it returns stops, and tells what was seen.
func Watch(ctx context.Context, cluster *sandbox.Cluster) (stop func() ([]Limited, error), err error) {
	var socket *nl.NetlinkSocket
	err = cluster.InNode(ctx, scene.Node, func() (err error) {
		socket, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_TC)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch the limits on %s: %w", scene.Node, err)
	}
	return watch(socket), nil
}

// notices is what the kernel tells on a socket.
type notices interface {
	Receive() ([]syscall.NetlinkMessage, *unix.SockaddrNetlink, error)
	Close() error
}

// watch reads until it is stopped. What the kernel had no room for (ENOBUFS, netlink(7)) may have
// been the first cut: then there is no saying what was seen.
func watch(socket notices) (stop func() ([]Limited, error)) {
	var mu sync.Mutex
	var seen []Limited
	var failed error
	stopped := false
	go func() {
		for {
			messages, _, err := socket.Receive()
			now := time.Now()
			mu.Lock()
			if stopped || err != nil {
				failed = err
				mu.Unlock()
				return
			}
			for _, m := range messages {
				if rate, ok := classRate(m.Header.Type, m.Data); ok {
					seen = append(seen, Limited{now, rate})
				}
			}
			mu.Unlock()
		}
	}()
	return func() ([]Limited, error) {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		_ = socket.Close() // it was open
		if failed != nil {
			return nil, fmt.Errorf("read what the kernel of %s tells of limits, of which some is lost: %w", scene.Node, failed)
		}
		return slices.Clone(seen), nil
	}
}

// classRate is the rate of an htb class that was made or changed: the ninth to twelfth octet
// of its parameters, in octets a second (struct tc_htb_opt).
func classRate(kind uint16, data []byte) (bitrate.Rate, bool) {
	if kind != unix.RTM_NEWTCLASS || len(data) < nl.SizeofTcMsg {
		return 0, false
	}
	rate, ok := bitrate.Rate(0), false
	attributes(data[nl.SizeofTcMsg:], func(kind uint16, options []byte) {
		if kind != nl.TCA_OPTIONS {
			return
		}
		attributes(options, func(kind uint16, parameters []byte) {
			if kind == nl.TCA_HTB_PARMS && len(parameters) >= 12 {
				rate, ok = bitrate.Rate(binary.NativeEndian.Uint32(parameters[8:]))*8, true
			}
		})
	})
	return rate, ok
}

func attributes(data []byte, each func(kind uint16, value []byte)) {
	all, err := nl.ParseRouteAttr(data)
	if err != nil {
		return // one that says nothing
	}
	for _, a := range all {
		each(a.Attr.Type&nl.NLA_TYPE_MASK, a.Value)
	}
}
