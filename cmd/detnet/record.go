package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/controller/flight"
	"github.com/detnet/detnet/controller/leader"
)

func newRecordCommand() *cobra.Command {
	var from statusSource
	var output string
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Fetch what the controller saw and decided lately",
		Long: `Fetch the leader's recording: what its law was shown and what it decided in the last
two minutes, and about trouble in the last hour as far as there is room for it. Of many
nodes it is what is behind the uplinks that were in trouble. "detnet replay" shows it, and
what another law or other constants would have decided.`,
		Example: "  detnet record -o incident.jsonl.gz\n  detnet replay incident.jsonl.gz",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := from.recording(cmd.Context())
			if err != nil {
				return err
			}
			defer body.Close()
			if output == "-" {
				_, err := copySteps(cmd.OutOrStdout(), body)
				return err
			}
			told, err := saveRecording(output, body)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", output, told)
			return nil
		},
	}
	from.addFlags(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "recording.jsonl.gz", "`file` to write, compressed if it ends in .gz; - for the standard output")
	return cmd
}

// recording opens the controller's recording.
func (s *statusSource) recording(ctx context.Context) (io.ReadCloser, error) {
	const tried = "fetch the controller's recording"
	if s.url != "" {
		body, err := leader.GetRecording(ctx, s.url)
		return body, s.failed(tried, err)
	}
	client, err := s.connect()
	if err != nil {
		return nil, err
	}
	body, err := leader.Recording(ctx, client, s.install)
	return body, s.failed(tried, err)
}

// saveRecording writes a recording to a file and says what is in it. It comes into
// its place once it is whole: a file of that name is not lost to one that is not.
func saveRecording(path string, from io.Reader) (told string, err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("save the recording: %s is no regular file; - is the standard output", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return "", fmt.Errorf("save the recording: %w", err)
	}
	told, err = writeRecording(f, strings.HasSuffix(path, ".gz"), from)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("save the recording: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return told, nil
}

func writeRecording(to io.Writer, compressed bool, from io.Reader) (told string, err error) {
	if !compressed {
		return copySteps(to, from)
	}
	z := gzip.NewWriter(to)
	defer func() { err = errors.Join(err, z.Close()) }()
	return copySteps(z, from)
}

// copySteps reads the steps as they pass, so that a bad recording is noticed
// where it can be fetched again.
func copySteps(to io.Writer, from io.Reader) (told string, err error) {
	r, err := flight.NewReader(io.TeeReader(from, to))
	if err != nil {
		return "", err
	}
	var first, last time.Time
	steps, uplinks := 0, map[string]bool{}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read the recording: %w", err)
		}
		if steps++; steps == 1 {
			first = s.Observation.At
		}
		last = s.Observation.At
		for _, node := range s.Part {
			uplinks[node] = true
		}
	}
	told = fmt.Sprintf("%d steps, %s to %s UTC", steps, first.UTC().Format(time.DateTime), last.UTC().Format(time.TimeOnly))
	if n := len(uplinks); n > 0 {
		told += fmt.Sprintf(", of %d uplinks in trouble", n)
	}
	return told, nil
}
