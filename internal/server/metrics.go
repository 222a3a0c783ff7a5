package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/limit"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// metrics are the figures on /metrics. Every label takes its values from a
// closed list, so that no caller can make the number of series grow
// (LOGS-03).
type metrics struct {
	// alone are the budgets that count alone when the nodes' does not answer; the
	// list is complete before the server answers.
	alone    []*limit.Fallback
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refresh  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	refused  *prometheus.CounterVec
	ahead    prometheus.Counter
	degraded prometheus.Counter

	// answers are the series of refresh, by answer.
	answers []prometheus.Counter
	// routes are the series of the mounted paths: besides other, the only values
	// of the label route.
	routes map[string]route
	other  route
}

// route keeps the series at hand that nearly every request moves: looking one
// up by its labels costs more than moving it.
type route struct {
	name    string
	seconds prometheus.Observer
	ok      prometheus.Counter
}

// route makes the series of a mounted path.
func (m *metrics) route(name string) route {
	return route{name, m.seconds.WithLabelValues(name), m.requests.WithLabelValues(name, "200")}
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_requests_total",
			Help: "Requests by route and status."}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "holdfast_request_seconds",
			Help:    "Time from the first byte of a request to the end of its answer, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}}, []string{"route"}),
		refresh: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_refresh_total",
			Help: "Refreshes by answer: rotated, repeated, recovered, late, refused, reused."}, []string{"answer"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "session_ended_total",
			Help: "Sessions ended, by reason."}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_refresh_refused_total",
			Help: "Refreshes refused without an effect, by reason."}, []string{"reason"}),
		ahead: prometheus.NewCounter(prometheus.CounterOpts{Name: "holdfast_refresh_ahead_total",
			Help: "Refresh tokens newer than the store remembers: it lost commits. Raise an alarm on any."}),
		degraded: prometheus.NewCounter(prometheus.CounterOpts{Name: "holdfast_refresh_degraded_total",
			Help: "Refreshes answered with the same token because the store cannot be written."}),
		routes: map[string]route{},
	}
	m.other = m.route("other")
	for a := session.Refused; a <= session.Reused; a++ {
		m.answers = append(m.answers, m.refresh.WithLabelValues(a.String()))
	}
	m.registry.MustRegister(m.requests, m.seconds, m.refresh, m.ended, m.refused, m.ahead, m.degraded,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, r := range fault.Ends() { // every reason is there from the start, at 0
		m.ended.WithLabelValues(string(r))
	}
	return m
}

// request counts one answered request and returns its route: a path as it was
// mounted, or "other" for everything else.
func (m *metrics) request(r *http.Request, status int, took time.Duration) string {
	on, mounted := m.routes[strings.TrimSuffix(r.Pattern, "/{$}")]
	if !mounted {
		on = m.other
	}
	if status == http.StatusOK {
		on.ok.Inc()
	} else {
		m.requests.WithLabelValues(on.name, strconv.Itoa(status)).Inc()
	}
	on.seconds.Observe(took.Seconds())
	return on.name
}

// session counts one decision or end.
func (m *metrics) session(e session.Event) {
	if e.Verdict.Row > 0 {
		m.answers[e.Verdict.Answer].Inc()
	}
	if e.Verdict.Answer == session.Refused && e.Verdict.Row > 0 {
		m.refused.WithLabelValues(string(e.Verdict.Reason)).Inc()
	}
	if e.Verdict.Ahead > 0 {
		m.ahead.Add(float64(e.Verdict.Ahead))
	}
	if e.Degraded {
		m.degraded.Inc()
	}
	if e.Ended != "" {
		m.ended.WithLabelValues(string(e.Ended)).Inc()
	}
}

// store adds the figures of the store's writer.
func (m *metrics) store(figures func() StoreFigures) {
	counter := func(name, help string, value func(StoreFigures) float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return value(figures()) }))
	}
	counter("holdfast_store_batches_total", "Transactions the writer tried.", func(f StoreFigures) float64 { return float64(f.Batches) })
	counter("holdfast_store_failed_batches_total", "Transactions that failed as a whole.", func(f StoreFigures) float64 { return float64(f.Failed) })
	counter("holdfast_store_operations_total", "Operations those transactions carried.", func(f StoreFigures) float64 { return float64(f.Operations) })
	counter("holdfast_store_commit_seconds_total", "Time spent in commits: nearly all of it is the disk's.",
		func(f StoreFigures) float64 { return f.CommitTime.Seconds() })
	counter("holdfast_store_breaker_opened_total", "How often the database did not answer several calls in a row.", func(f StoreFigures) float64 { return float64(f.Opened) })
	counter("holdfast_store_breaker_refused_total", "Calls refused at once because the database does not answer.", func(f StoreFigures) float64 { return float64(f.Refused) })
	counter("holdfast_store_unreplicated_total", "Commits whose wait for the synchronous replica was cancelled: a failover may lose them.",
		func(f StoreFigures) float64 { return float64(f.Unreplicated) })
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdfast_store_breaker_open",
		Help: "1 while the database does not answer and calls are refused at once."}, func() float64 {
		if figures().Broken {
			return 1
		}
		return 0
	}))
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdfast_store_queue",
		Help: "Operations that wait for the writer."}, func() float64 { return float64(figures().Queue) }))
}

// drift adds how far this machine's clock is from the database's.
func (m *metrics) drift(ahead func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdfast_clock_ahead_seconds",
		Help: "How far this machine's clock is ahead of the database's; below 0, behind."}, ahead))
}

// journal adds the figures of the revocation journal.
func (m *metrics) journal(figures func() JournalFigures) {
	m.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "holdfast_journal_entries_total", Help: "Ends written to the revocation journal and synced."},
			func() float64 { return float64(figures().Entries) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "holdfast_journal_failed_total", Help: "Attempts to bring the revocation journal up to date that failed."},
			func() float64 { return float64(figures().Failed) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdfast_journal_behind_seconds", Help: "Time since the revocation journal was last up to date with the record."},
			func() float64 { return figures().Behind.Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdfast_journal_unacknowledged", Help: "Ends that took effect, were answered with 503, and may be missing in the revocation journal."},
			func() float64 { return float64(figures().Owed) }))
}

// fallback counts the attempts that this node had to count alone, of all budgets
// together.
func (m *metrics) fallback(f *limit.Fallback) {
	m.alone = append(m.alone, f)
	if len(m.alone) > 1 {
		return
	}
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "holdfast_limits_alone_total",
		Help: "Attempts counted by this node alone, because what the nodes share did not answer."},
		func() (sum float64) {
			for _, f := range m.alone {
				sum += float64(f.Alone())
			}
			return sum
		}))
}

// passwords adds the figures of the line before the password hash.
func (m *metrics) passwords(h *user.Hasher) {
	m.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "holdfast_password_hashes_total", Help: "Password hashes computed."},
			func() float64 { return float64(h.Load().Done) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdfast_password_waiting", Help: "Sign-ins that wait for a password hash."},
			func() float64 { return float64(h.Load().Waiting) }))
}
