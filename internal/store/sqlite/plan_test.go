package sqlite

import (
	"context"
	"strings"
	"testing"
)

// TestNoRequestScans: a statement that a request waits for finds its rows by
// key or index, however large the tables grow.
func TestNoRequestScans(t *testing.T) {
	db := openTest(t, Options{})
	household(t, db)
	statements := map[string]string{
		"Load":         loadOne,
		"Replace":      "UPDATE session SET version = 2 WHERE key = ? AND tail = ? AND version = ?",
		"ByInstall":    loadMany + " WHERE s.user = (SELECT ref FROM user WHERE id = ?) AND s.ended_at IS NULL AND substr(s.facts, 2, 16) = ? AND c.id = ? ORDER BY s.created_at DESC LIMIT 1",
		"install":      "SELECT s.key, s.tail FROM session s JOIN terms t ON t.ref = s.terms JOIN client c ON c.ref = t.client WHERE" + whereInstall,
		"OfUser":       loadMany + " WHERE s.user = (SELECT ref FROM user WHERE id = ?) AND s.ended_at IS NULL ORDER BY s.created_at DESC, s.key LIMIT ?",
		"terms":        "SELECT ref FROM terms WHERE client = ? AND scope = ? AND earned = ? AND amr = ?",
		"ByLogin":      userColumns + " JOIN login l ON l.user = u.ref WHERE l.canonical = ? AND u.gone = 0",
		"ByID":         userColumns + " WHERE u.id = ? AND u.gone = 0",
		"names freed":  "DELETE FROM login WHERE user = ?",
		"TokenRevoked": "SELECT 1 FROM revocation WHERE key = ? AND kind = ? LIMIT 1",
		"Since":        "SELECT position FROM revocation WHERE position > ? ORDER BY position LIMIT ?",
		"purge look":   "SELECT key FROM session WHERE key BETWEEN ? AND ? AND (ended_at < ? OR used_at < ?) ORDER BY key LIMIT ?",
	}
	for name, text := range statements {
		err := db.readers.read(t.Context(), func(c *conn) error {
			args := make([]any, strings.Count(text, "?"))
			for i := range args {
				args[i] = 1
			}
			return c.each(context.Background(), "EXPLAIN QUERY PLAN "+text, args, func(r row) error {
				if step := r.text(3); strings.HasPrefix(step, "SCAN") {
					t.Errorf("%s: %s", name, step)
				}
				return nil
			})
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
