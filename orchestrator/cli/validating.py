"""What a manifest would come to, told: by `validate`, and by the `--dry-run` of `submit` and `run`."""

from orchestrator.checking import ValidationReport, validate
from orchestrator.cli.submitting import manifest_progress, show_warnings
from orchestrator.client import Client
from orchestrator.cost.estimate import CostEstimate, Prices
from orchestrator.request import SubmitRequest
from services.cli.output import duration, print_json, print_table, say


def tell_validated(
    request: SubmitRequest, client: Client, prices: Prices, *, as_json: bool, ask_services: bool = False
) -> None:
    """Check a manifest and print what it would come to.

    Args:
        ask_services: take speeds from the store and the number of workers from Redis.

    Raises:
        ManifestError: faults, all of them.
        SettingsError: it would cost more than `--max-units`.
    """
    with manifest_progress() as show:
        if ask_services:
            report = client.estimate(request, prices, on_progress=show)
        else:
            report = validate(request, client.catalogue, client.settings, prices=prices, on_progress=show)
    if as_json:
        print_json(report.model_dump())
    else:
        _show(report, prices)
    request.refuse_over_limit(report.totals.units)


def _show(report: ValidationReport, prices: Prices) -> None:
    totals, manifest, cost = report.totals, report.manifest, report.cost
    earlier = f", and {totals.earlier_images:,} of earlier stages" if totals.earlier_images else ""
    facts = [
        ["rows", f"{totals.rows:,}"],
        ["images", f"{totals.images:,}{earlier}"],
        ["pipelines", _counts(manifest.pipelines)],
        ["models", _counts(manifest.models)],
        ["own columns", _counts(manifest.extra_columns) or "none"],
        ["batches", f"{totals.batches:,}, of rows that can share a denoising loop"],
        ["tasks", f"{totals.tasks:,}"],
        *_cost(cost, prices),
    ]
    print_table(["", ""], facts)
    show_warnings(report.warnings)
    for note in report.notes:
        say(note, style="yellow")
    say("no faults; run or submit renders it", style="green")


def _cost(cost: CostEstimate, prices: Prices) -> list[list[str]]:
    unknown = f"; {cost.unknown_sizes:,} rows of unknown size count as 512x512" if cost.unknown_sizes else ""
    time = [["GPU time", f"unknown: {cost.speed_source}"]]
    if cost.gpu_seconds is not None:
        time = [["GPU time", f"{duration(cost.gpu_seconds)} {cost.speed_source}"]]
    if cost.wall_seconds is not None:
        time.append(["on the clock", f"{duration(cost.wall_seconds)} with {cost.workers} at work"])
    if cost.price is not None:
        time.append(["price", f"{cost.price:,.2f} at {prices.price_per_hour:g} an hour"])
    return [
        ["units", f"{cost.units:,.2f}, each 512x512 pixels at 50 steps{unknown}"],
        *time,
        ["storage", f"{_size(cost.bytes)}; {cost.bytes_source}"],
        ["PUT requests", f"{cost.puts:,}"],
    ]


def _counts(found: dict[str, int], most: int = 8) -> str:
    shown = [f"{name} {rows:,}" for name, rows in list(found.items())[:most]]
    return ", ".join(shown) + (f" and {len(found) - most} more" if len(found) > most else "")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit in ("bytes", "KB") else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
