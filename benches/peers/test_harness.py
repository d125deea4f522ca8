"""Tests of what the harness decides: `python3 -m unittest` in this folder. They start nothing."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True

from harness import cases, targets  # noqa: E402
from harness.load import Sample, _open_sample  # noqa: E402
from harness.processes import Cpu  # noqa: E402


def sample(cpu=10.0, **others):
    values = {"requests": 10_000, "seconds": 1.0, "p50": 1, "p99": 2, "p999": 3, "unexpected": 0, "socket_errors": 0}
    return Sample(**(values | {"cpu": cpu} | others))


def verdict_of(ours, theirs, must=1.0, aim=0.5):
    target = targets.Ratio("hot", "cpu", "haproxy", must, aim)
    return targets.judge({"hot": {"portcullis": ours, "haproxy": theirs}}, {}, [target])[0]


class Targets(unittest.TestCase):
    def test_a_ratio_above_must_is_missed(self):
        self.assertTrue(verdict_of([sample(10.1)], [sample(10.0)]).missed)

    def test_a_ratio_at_must_holds(self):
        self.assertEqual(verdict_of([sample(10.0)], [sample(10.0)]).verdict, "ok")

    def test_a_ratio_at_aim_says_so(self):
        self.assertEqual(verdict_of([sample(5.0)], [sample(10.0)]).verdict, "aim reached")

    def test_the_ratio_is_that_of_the_medians(self):
        verdict = verdict_of([sample(1.0), sample(2.0), sample(90.0)], [sample(4.0), sample(4.0), sample(4.0)])
        self.assertEqual(verdict.measured, "0.50")

    def test_a_void_sample_is_left_out(self):
        verdict = verdict_of([sample(1.0), sample(99.0, unexpected=11)], [sample(2.0), sample(2.0)])
        self.assertEqual(verdict.measured, "0.50")

    def test_a_case_without_a_good_sample_is_not_measured(self):
        verdict = verdict_of([sample(unexpected=11)], [sample()])
        self.assertEqual(verdict.verdict, "not measured")

    def test_memory_is_judged_in_its_unit(self):
        target = targets.Bytes("connection", "KiB", 1024, 12, 8)
        verdict = targets.judge({}, {"portcullis": {"connection": 13 * 1024}}, [target])[0]
        self.assertEqual((verdict.verdict, verdict.measured), ("MISSED", "13.0 KiB"))


class Samples(unittest.TestCase):
    def test_one_error_in_a_thousand_is_tolerated_and_no_more(self):
        self.assertFalse(sample(unexpected=5, socket_errors=5).void)
        self.assertTrue(sample(unexpected=6, socket_errors=5).void)

    def test_no_answer_is_void(self):
        self.assertTrue(sample(requests=0).void)

    def test_tokens_that_the_cache_knew_void_the_unique_case(self):
        self.assertFalse(cases.hit_note({cases.HITS: 9, cases.MISSES: 991}))
        self.assertTrue(cases.hit_note({cases.HITS: 10, cases.MISSES: 990}))
        self.assertTrue(cases.hit_note({}))

    def test_a_rate_that_was_not_reached_voids_an_open_loop(self):
        log = Path(self.enterContext(tempfile.TemporaryDirectory())) / "log"
        log.write_text("".join(f"{number * 1000}\t200\t{number}\n" for number in range(1001)))
        self.assertFalse(_open_sample(log, 1000).void)
        self.assertTrue(_open_sample(log, 1100).void)
        self.assertEqual(_open_sample(log, 1000).p99, 990)


class CpuTime(unittest.TestCase):
    def cpu(self, threads, ticks):
        made = Cpu([])
        made.threads, made.ticks = threads, ticks
        return made

    def test_threads_are_summed_in_nanoseconds(self):
        before, after = self.cpu({"1": 10**9}, 0), self.cpu({"1": 2 * 10**9, "2": 10**9}, 0)
        self.assertEqual(after.seconds_since(before), 2.0)

    def test_ticks_are_taken_when_a_thread_has_ended(self):
        before, after = self.cpu({"1": 0, "2": 0}, 0), self.cpu({"1": 10**9}, 300)
        self.assertEqual(after.seconds_since(before), 3.0)


if __name__ == "__main__":
    unittest.main()
