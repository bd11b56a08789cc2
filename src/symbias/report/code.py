"""The code that makes a fit again, as a page shows it."""

from typing import Any

import numpy as np


def series_code(record: dict[str, Any]) -> str:
    """Of a series."""
    column = f"data[{record['time']!r}]" if record["time"] else "range(len(data))"
    times = record["time_pandas"].format(column)
    penalty = repr(record["penalty"])
    if isinstance(record["target"], list):
        kind = "TotalVariation" if record["penalty"] == "tv" else "TrendFilter"
        penalty = f"sb.{kind}(joint=True)"
    return (
        "import pandas as pd\nimport symbias as sb\n\n"
        f"data = {record['read']}\n"
        f"fit = sb.fit_series({times}, data[{record['target']!r}], {penalty}, "
        f"strength={record['strength']!r})\n"
        f"print(fit.{_asked(record)}, fit.dual_gap)"
    )


def _asked(record: dict[str, Any]) -> str:
    if record["penalty"] == "spectral":
        return "strongest_period"
    return "changepoints" if "intervals" in record["sure"] else "breaks"


def table_code(record: dict[str, Any]) -> str:
    """Of a table."""
    penalty = repr(record["penalty"])
    sources = record["sources"]
    if record["penalty"] == "group":
        group_of = {name: str(np.int64(i)) for i, name in enumerate(record["columns"])}
        for k, group in enumerate(record.get("groups", "").split(";")):
            for member in filter(None, map(str.strip, group.split(","))):
                group_of[member] = f"g{k}"
        penalty = f"sb.GroupLasso({[group_of[n] for n in sources]!r})"
    kind = "DesignedClassifier" if "classes" in record else "DesignedRegressor"
    code = record["pandas"]
    modules = {
        "compose": "make_column_transformer",
        "impute": "SimpleImputer",
        "pipeline": "make_pipeline",
    }
    imports = [f"from sklearn.{m} import {name}\n" for m, name in modules.items() if name in code]
    scalers = "OneHotEncoder, " * ("OneHotEncoder" in code) + "StandardScaler"
    imports.append(f"from sklearn.preprocessing import {scalers}\n")
    return (
        "import pandas as pd\nimport symbias as sb\n" + "".join(imports) + "\n"
        f"data = {record['read']}\n"
        f"X = {code}\n"
        f"model = sb.{kind}({penalty}, strength={record['strength']!r})\n"
        f"model.fit(X, data[{record['target']!r}])\n"
        "print(model.coef_, model.dual_gap_)"
    )
