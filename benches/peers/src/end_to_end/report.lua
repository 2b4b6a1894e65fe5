-- wrk's own report is for people; this adds the numbers of it that are read again, as JSON.
function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"duration_us":%d,"p99_us":%d,"errors":%d}',
    summary.requests,
    summary.duration,
    latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
