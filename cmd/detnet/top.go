package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/detnet/detnet/cmd/detnet/text"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/status"
)

// statusSource says where a command reads the controller's status.
type statusSource struct {
	cluster
	url string
}

func (s *statusSource) addFlags(cmd *cobra.Command) {
	s.cluster.addFlags(cmd)
	s.addInstallFlag(cmd)
	cmd.Flags().StringVar(&s.url, "url", "", "read the status page at this `URL`, such as http://127.0.0.1:8082, not through the API server")
}

// reader returns a function that reads what q asks for of the status.
func (s *statusSource) reader(q status.Query) (func(context.Context) (*status.Status, error), error) {
	if s.url != "" {
		return func(ctx context.Context) (*status.Status, error) {
			status, err := leader.Get(ctx, s.url, q)
			return status, s.failed("read the controller's status", err)
		}, nil
	}
	client, err := s.connect()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (*status.Status, error) {
		status, err := leader.Status(ctx, client, s.install, q)
		return status, s.failed("read the controller's status", err)
	}, nil
}

// failed says of an error what was tried, and of a leader that is not there where one may be.
func (s *statusSource) failed(tried string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, leader.ErrNone):
		return fmt.Errorf("%s: %w kubectl -n %s get pods shows what runs there, and --%s names another namespace", tried, err, s.install, installFlag)
	}
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%s: %w: it takes the right to get leases, pods and pods/proxy there; --url reads the status page itself", tried, err)
	}
	if s.url != "" {
		return fmt.Errorf("%s: %w: see that --url is that of the status page, such as http://127.0.0.1:8082 after kubectl -n %s port-forward service/detnet-controller 8082:80", tried, err, s.install)
	}
	return fmt.Errorf("%s: %w", tried, err)
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
			return top(cmd.Context(), cmd.OutOrStdout(), refusing(read, of), output, interval)
		},
	}
	from.addFlags(cmd)
	cmd.Flags().VarP(format(&output, "text", "json"), "output", "o", "text or json")
	cmd.Flags().StringVar(&of.Node, "node", "", "only what is on this `node`")
	cmd.Flags().StringVarP(&of.Namespace, "namespace", "n", "", "only pods in this `namespace`, and what concerns them; default all")
	cmd.Flags().IntVar(&of.Limit, "limit", 0, "how many of each to show at most, those in trouble first; 0: all")
	cmd.Flags().DurationVarP(&interval, "watch", "w", 0, "show it again each `interval`, such as 1s, until interrupted")
	return cmd
}

// refusing has the first read fail where the controller knows nothing of the node or the
// namespace that was asked for: its part of the status is empty, as is that of one where all is well.
func refusing(read func(context.Context) (*status.Status, error), q status.Query) func(context.Context) (*status.Status, error) {
	known := false
	return func(ctx context.Context) (*status.Status, error) {
		s, err := read(ctx)
		switch {
		case err != nil || known:
			return s, err
		case s.NoNode != nil:
			return nil, misuse("--node %s: the controller knows no such node: %s", q.Node, someOf(s.NoNode.First, s.NoNode.More))
		case s.NoNamespace != nil:
			return nil, misuse("--namespace %s: no pod of that namespace is protected or limited: %s", q.Namespace, someOf(s.NoNamespace.First, s.NoNamespace.More))
		}
		known = true
		return s, nil
	}
}

// someOf names what there is instead.
func someOf(first []string, more int) string {
	if len(first) == 0 {
		return "it knows of none yet"
	}
	text := "want one of " + strings.Join(first, ", ")
	if more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
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
