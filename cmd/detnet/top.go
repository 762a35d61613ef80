package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/detnet/detnet/cmd/detnet/text"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/status"
)

// statusSource says where a command reads the controller's status.
type statusSource struct {
	cluster
	namespace, url string
}

func (s *statusSource) addFlags(cmd *cobra.Command) {
	s.cluster.addFlags(cmd)
	cmd.Flags().StringVarP(&s.namespace, "namespace", "n", "detnet", "namespace of the install")
	cmd.Flags().StringVar(&s.url, "url", "", "read the status page at this `URL`, such as http://127.0.0.1:8082, not through the API server")
}

// reader returns a function that reads what q asks for of the status.
func (s *statusSource) reader(q status.Query) (func(context.Context) (*status.Status, error), error) {
	if s.url != "" {
		return func(ctx context.Context) (*status.Status, error) { return leader.Get(ctx, s.url, q) }, nil
	}
	client, err := s.connect()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (*status.Status, error) { return leader.Status(ctx, client, s.namespace, q) }, nil
}

func newTopCommand() *cobra.Command {
	var from statusSource
	var output string
	var interval time.Duration
	var of status.Query
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what is measured, what is in force and why",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if of.Limit < 0 || of.Limit > status.MaxLimit {
				return misuse("--limit %d: want 0 to %d", of.Limit, status.MaxLimit)
			}
			if interval < 0 {
				return misuse("--watch %v: want an interval, such as 1s", interval)
			}
			read, err := from.reader(of)
			if err != nil {
				return err
			}
			if of.Node != "" || of.Namespace != "" {
				if err := from.know(cmd.Context(), of); err != nil {
					return err
				}
			}
			return top(cmd.Context(), cmd.OutOrStdout(), read, output, interval)
		},
	}
	from.addFlags(cmd)
	cmd.Flags().VarP(format(&output, "text", "json"), "output", "o", "text or json")
	cmd.Flags().StringVar(&of.Node, "node", "", "only what is on this `node`")
	cmd.Flags().StringVar(&of.Namespace, "pods-in", "", "only pods in this `namespace`, and what concerns them")
	cmd.Flags().IntVar(&of.Limit, "limit", 0, "how many of each to show at most, those in trouble first; 0: all")
	cmd.Flags().DurationVarP(&interval, "watch", "w", 0, "show it again each `interval`, such as 1s, until interrupted")
	return cmd
}

// know refuses a node or a namespace of which the controller knows nothing: its part of the
// status is empty, as is that of one where all is well.
func (s *statusSource) know(ctx context.Context, q status.Query) error {
	read, err := s.reader(status.Query{})
	if err != nil {
		return err
	}
	all, err := read(ctx)
	if err != nil || !all.Leader {
		return err
	}
	if nodes := all.Nodes(); q.Node != "" && !slices.Contains(nodes, q.Node) {
		return misuse("--node %s: the controller knows no such node: %s", q.Node, someOf(nodes))
	}
	if namespaces := all.Namespaces(); q.Namespace != "" && !slices.Contains(namespaces, q.Namespace) {
		return misuse("--pods-in %s: no pod of that namespace is protected or limited: %s", q.Namespace, someOf(namespaces))
	}
	return nil
}

// someOf names what there is instead, as far as a line holds it.
func someOf(names []string) string {
	const most = 12
	switch {
	case len(names) == 0:
		return "it knows of none yet"
	case len(names) > most:
		return fmt.Sprintf("want one of %s, and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return "want one of " + strings.Join(names, ", ")
}

func top(ctx context.Context, out io.Writer, read func(context.Context) (*status.Status, error), output string, interval time.Duration) error {
	for {
		s, err := read(ctx)
		if err != nil {
			return err
		}
		if output == "json" {
			err = json.NewEncoder(out).Encode(s)
		} else {
			err = drawTop(out, s, interval > 0 && isTerminal(out))
		}
		if err != nil || interval <= 0 {
			return err
		}
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// isTerminal reports that out can be cleared: a file or pipe keeps what is written to it.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// drawTop writes in one piece, so that a terminal does not flicker.
func drawTop(out io.Writer, s *status.Status, clear bool) error {
	var page bytes.Buffer
	if clear {
		page.WriteString("\x1b[H\x1b[2J")
	}
	if err := text.Top(text.Plain(&page), s); err != nil {
		return err
	}
	_, err := out.Write(page.Bytes())
	return err
}
