package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/sandbox"
)

// actions are the commands on a running cluster.
var actions = map[string]func(context.Context, *sandbox.Cluster, []string) error{
	"exec":    execute,
	"kubectl": passOn("kubectl"),
	"helm":    passOn("helm"),
	"load": func(ctx context.Context, c *sandbox.Cluster, archives []string) error {
		return c.LoadImages(ctx, archives...)
	},
	"shape": shape,
	"restart": func(ctx context.Context, c *sandbox.Cluster, args []string) error {
		if len(args) != 1 {
			return flag.ErrHelp
		}
		return c.RestartNode(ctx, args[0])
	},
	"crds": func(ctx context.Context, c *sandbox.Cluster, _ []string) error { return c.ApplyCiliumCRDs(ctx) },
}

func passOn(program string) func(context.Context, *sandbox.Cluster, []string) error {
	return func(ctx context.Context, c *sandbox.Cluster, args []string) error {
		return attach(c.Command(ctx, program, args...)).Run()
	}
}

func execute(ctx context.Context, c *sandbox.Cluster, args []string) error {
	if len(args) < 2 {
		return flag.ErrHelp
	}
	return c.RunOn(ctx, args[0], attach(c.Command(ctx, args[1], args[2:]...)))
}

func attach(cmd *exec.Cmd) *exec.Cmd {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// defaultQueue is 40 ms of a 200 Mbit/s link.
const defaultQueue = 1_000_000

func shape(ctx context.Context, c *sandbox.Cluster, args []string) error {
	if len(args) == 0 {
		return flag.ErrHelp
	}
	node := args[0]
	if len(args) == 1 {
		stats, err := c.UplinkStats(ctx, node)
		if err == nil {
			fmt.Printf("%s bit/s, a queue of %d bytes; sent %d bytes in %d packets, dropped %d, %d bytes wait\n",
				stats.Rate, stats.Queue, stats.Bytes, stats.Packets, stats.Drops, stats.Backlog)
		}
		return err
	}
	if args[1] == "off" {
		return c.UnshapeUplink(ctx, node)
	}
	rate, err := bitrate.Parse(args[1])
	if err != nil {
		return err
	}
	queue := defaultQueue
	if len(args) > 2 {
		if queue, err = strconv.Atoi(args[2]); err != nil {
			return err
		}
	}
	return c.ShapeUplink(ctx, node, rate, queue)
}
