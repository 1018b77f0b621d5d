"""The report as text for a terminal."""

from utils.geography.geodesy import THRESHOLDS_KM


def format_report(report: dict) -> str:
    """The report as text for a terminal, some 120 columns wide; the prediction is marked with an asterisk."""
    names = [f"{name} *" if name == report["prediction"] else name for name in report["rankers"]]
    width = max(map(len, names))
    lines = [
        f"{report['num_queries']} queries, {report['mean_candidates']:.1f} candidates each. "
        "% within a distance of the truth, with 95% bootstrap intervals:",
        "",
        f"{'':{width}}"
        + "".join(f"{f'{threshold} km':>18}" for threshold in THRESHOLDS_KM)
        + f"{'median km':>11}{'GeoScore':>10}",
    ]
    for name, figures in zip(names, report["rankers"].values(), strict=True):
        cells = [
            f"{figures['accuracy'][key]:>6.1f} [{low:4.1f},{high:5.1f}]"
            for key, (low, high) in figures["accuracy_ci95"].items()
        ]
        lines.append(
            f"{name:{width}}"
            + "".join(f"{cell:>18}" for cell in cells)
            + f"{figures['median_km']:>11.1f}{figures['geoscore']:>10.0f}"
        )
    lines += ["", "* the prediction", *_area_lines(report, width), *_difference_lines(report), *_remarks(report)]
    return "\n".join(lines)


def _area_lines(report: dict, width: int) -> list[str]:
    """How often answers lie in the area of the truth, where that is known."""
    areas = report.get("areas", {})
    if not areas:
        return []
    counts = ", ".join(f"{figures['num_queries']:,} with a {level}" for level, figures in areas.items())
    lines = ["", f"% in the area of the truth (queries: {counts}):", "", f"{'':{width}}"]
    lines[-1] += "".join(f"{level:>12}" for level in areas)
    for name in report["rankers"]:
        lines.append(f"{name:{width}}" + "".join(f"{area['accuracy'][name]:>12.1f}" for area in areas.values()))
    return lines


def _difference_lines(report: dict) -> list[str]:
    lines = []
    for ranker, baselines in report["paired_differences"].items():
        for baseline, figures in baselines.items():
            cells = [
                f"{figures['accuracy'][key]:>+6.1f} [{low:+.1f}, {high:+.1f}] at {key} km"
                for key, (low, high) in figures["accuracy_ci95"].items()
                if key in ("25", "200")
            ]
            lines.append(f"{f'{ranker} - {baseline}':<40}" + "  ".join(f"{cell:<33}" for cell in cells).rstrip())
    return ["", "Paired differences in points:", *lines] if lines else []


def _remarks(report: dict) -> list[str]:
    lines = []
    for ranker, gap in report["gap_closed"].items():
        if gap["200"] is not None:
            lines.append(f"{ranker} closes {gap['200']:.0f}% of the gap from first candidate to oracle at 200 km.")
    if report["calibration_error"] is not None:
        radius = report["calibration_radius_km"]
        lines.append(
            f"Expected calibration error {report['calibration_error']:.3f} "
            f"(shares within {radius} km of the prediction, against being right "
            f"within {radius} km; temperature {report['temperature']:.3g})."
        )
    if "regions" in report:
        lines += _stated_lines(report)
    if report["only_guesses"]:
        lines.append(f"{report['only_guesses']} queries have no retrieved candidate: retrieval is their first guess.")
    for name, what in (("similarity", "similarities"), ("geoclip", "cosines of GeoCLIP")):
        if name in report["rankers"] and report[f"without_{name}"]:
            lines.append(f"{report[f'without_{name}']} queries have no {what}: {name} is their first candidate.")
    if "gallery_density" in report:
        shares = [f"{share:.1f}% within {radius} km" for radius, share in report["gallery_density"].items()]
        lines.append(f"Queries with a gallery photo: {', '.join(shares)}.")
    if "training_distance" in report:
        lines += _training_distance_lines(report)
    return ["", *lines] if lines else []


def _stated_lines(report: dict) -> list[str]:
    """What was stated of the answers, and what was true of it, by radius and by region."""
    radii = list(report["brier"])
    gains = [1 - report["brier"][km] / base if base else 0.0 for km, base in report["brier_base"].items()]
    rows = {
        "calibration error": [f"{error:.3f}" for error in report["calibration_errors"].values()],
        "Brier score below that of the rate": [f"{round(100 * gain)}%" for gain in gains],
    }
    rows |= {
        f"right among the surest {share}%": [f"{value:.1f}%" for value in values.values()]
        for share, values in report["selective"].items()
    }
    width = max(map(len, rows))
    lines = ["", f"{'What was stated of the answers:':{width}}" + "".join(f"{f'{km} km':>9}" for km in radii)]
    lines += [f"{name:{width}}" + "".join(f"{cell:>9}" for cell in cells) for name, cells in rows.items()]
    for level, figures in report["regions"].items():
        lines.append(
            f"Regions of {level}% held {figures['coverage']:.1f}% of the truths; "
            f"half of them are no larger than a disc of {figures['median_radius_km']:.0f} km radius."
        )
    return [*lines, ""]


def _training_distance_lines(report: dict) -> list[str]:
    lines = ["", "% within 25 and 200 km by distance to the nearest training centre:"]
    for row in report["training_distance"]:
        to = f"{row['to_km']:.0f}" if row["to_km"] is not None else "..."
        cells = [
            f"{name} {row['accuracy'][name]['25']:.1f}/{row['accuracy'][name]['200']:.1f}"
            for name in dict.fromkeys((report["prediction"], "retrieval", "consensus", "oracle"))
        ]
        lines.append(f"  {row['from_km']:.0f}-{to} km, {row['num_queries']} queries: {', '.join(cells)}")
    return lines
