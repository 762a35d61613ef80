package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// options are the demo's variables.
type options struct {
	duration time.Duration // of each loaded phase
	capacity bitrate.Rate  // of each node's uplink
	load     string
	law      string
	keep     bool // leave the cluster up at the end
}

// Bounds of the variables. Above MaxCapacity a small machine's cores, not the
// queue, are the bottleneck.
const (
	minDuration = 5 * time.Second
	maxDuration = 5 * time.Minute
	minCapacity = 20 * bitrate.Mbit
	maxCapacity = 200 * bitrate.Mbit
)

// parseOptions reads the variables from the environment, as make passes them.
func parseOptions(getenv func(string) string) (options, error) {
	or := func(name, fallback string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return fallback
	}
	o := options{load: or("LOAD", "tcp"), law: or("LAW", "adaptive"), keep: or("KEEP", "0") != "0"}
	var err error
	if o.duration, err = time.ParseDuration(or("DURATION", "20s")); err != nil || o.duration < minDuration || o.duration > maxDuration {
		return o, fmt.Errorf("DURATION=%s: must be a duration from %v to %v, such as 20s", getenv("DURATION"), minDuration, maxDuration)
	}
	if o.capacity, err = bitrate.Parse(or("CAPACITY", "200M")); err != nil || o.capacity < minCapacity || o.capacity > maxCapacity {
		return o, fmt.Errorf("CAPACITY=%s: must be from %v to %v, such as 200M", getenv("CAPACITY"), minCapacity, maxCapacity)
	}
	if !slices.Contains([]string{"tcp", "udp", "bursty"}, o.load) {
		return o, fmt.Errorf("LOAD=%s: must be tcp, udp or bursty", o.load)
	}
	if !slices.Contains([]string{"adaptive", "aimd", "step"}, o.law) {
		return o, fmt.Errorf("LAW=%s: must be adaptive, aimd or step", o.law)
	}
	return o, nil
}
