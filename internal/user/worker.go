package user

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"runtime/debug"
	"time"
)

// Limits of a worker process.
const (
	// workerPatience is how long an answer may take before the process is given
	// up: a started process and the dearest hash, many times over, also on a
	// machine where others have the cores. It is longer than a request lives,
	// because a start that applies a manifest waits longer than a person does.
	workerPatience = 30 * time.Second
	// maxTask bounds one task on the pipe, in bytes: two spellings of a password,
	// grown by normalisation (at most three times) and base64, and a hash.
	maxTask = 16 << 10
	// idleTrim is how long a worker waits for work before it returns the memory of
	// its last hash to the system.
	idleTrim = 5 * time.Second
)

// worker is one process that computes hashes, one at a time, started when it is
// first needed and again when it died. It is used by one goroutine at a time:
// the holder of its slot.
type worker struct {
	command []string
	process *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
}

// do has the process do t. A process that does not answer is replaced once:
// doing password work twice harms nothing.
func (w *worker) do(t task) (a answer, err error) {
	for range 2 {
		if w.process == nil {
			err = w.start()
			if err != nil {
				return answer{}, err
			}
		}
		a, err = w.ask(t)
		if err == nil {
			return a, nil
		}
		w.stop()
	}
	return answer{}, err
}

func (w *worker) start() error {
	c := exec.Command(w.command[0], w.command[1:]...)
	// One slot is one core, and the server's secrets are not the worker's business.
	c.Env = []string{"GOMAXPROCS=1"}
	apart(c)
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	err = c.Start()
	if err != nil {
		return fmt.Errorf("cannot start the hash worker: %w", err)
	}
	w.process, w.in, w.out = c, in, json.NewDecoder(out)
	err = humble(c.Process.Pid)
	if err != nil {
		w.stop()
		return fmt.Errorf("cannot lower the priority of the hash worker: %w", err)
	}
	return nil
}

// ask sends one task and waits for its answer. When the patience is over the
// process is killed, which ends the wait.
func (w *worker) ask(t task) (a answer, err error) {
	p := w.process.Process
	patience := time.AfterFunc(workerPatience, func() { _ = p.Kill() })
	defer patience.Stop()
	err = json.NewEncoder(w.in).Encode(t)
	if err != nil {
		return a, err
	}
	return a, w.out.Decode(&a)
}

// stop ends the process, if there is one, and waits until it is gone.
func (w *worker) stop() {
	if w.process == nil {
		return
	}
	_ = w.in.Close() // an idle worker leaves at the end of its input
	_ = w.process.Process.Kill()
	_ = w.process.Wait()
	w.process = nil
}

// ServeHashes is the whole life of a worker process: it reads tasks from in and
// writes answers to out until in ends, which is how it learns that the server
// is gone. The command that HasherOptions.Command names calls it and does
// nothing else.
func ServeHashes(in io.Reader, out io.Writer) error {
	room := &io.LimitedReader{R: in}
	tasks, answers := json.NewDecoder(room), json.NewEncoder(out)
	for {
		room.N = maxTask
		var t task
		trim := time.AfterFunc(idleTrim, debug.FreeOSMemory)
		err := tasks.Decode(&t)
		trim.Stop()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("cannot read a task: %w", err)
		case !t.valid():
			return errors.New("not a task for a hash worker")
		}
		err = answers.Encode(t.do())
		if err != nil {
			return fmt.Errorf("cannot answer: %w", err)
		}
		runtime.GC() // the next hash gets the same memory again: half of the space, and cached
	}
}
