"""The words that answers put around coordinates, and the letters that answer_tokens gives them."""

WORDS = {
    word: code
    for code, words in {
        "a": "lat lat. latitude latitudes latitud latitudine breite breitengrad широта 纬度 緯度 위도",
        "o": "lon lng long lon. lng. long. longitude longitudes longitud longitudine länge längengrad долгота 经度 "
        "經度 経度 경도",
        "ao": "latlon latlng latlong",
        "oa": "lonlat lnglat longlat",
        "N": "n north northern northerly northward northwards nord norte nördlich noord noorderbreedte norr "
        "kuzey utara",
        "S": "s south southern southerly southward southwards sud sur sul süd südlich zuid "
        "zuiderbreedte syd güney selatan",
        "E": "e east eastern easterly eastward eastwards ost este östlich oosterlengte doğu timur",
        "W": "w west western westerly westward westwards ouest oeste ovest oest westlich westerlengte "
        "väst vest bat\u0131 barat",
        "X": "sw nw se southwest northwest southeast southwestern northwestern southeastern o meridional "
        "neg negativ negativo negativa négatif "
        "occidental austral süden westen minus negative юг южной южная ю запад западной западная з 南 南纬 南緯 西 "
        "południe południowa zachód zachodnia etelä etelään länsi νότια νότος δυτικά δύση "
        "جنوب جنوبا غرب غربا दक्षिण पश्चिम "
        "דרום מערב dél nyugat jih jižní západ západní sør sör "
        "西经 西經 西経 남위 서경",
        "h": "hemisphere hemispheres hemisferio hemisphäre hémisphère",
        "d": "deg deg. degs degree degrees",
        "m": "min min. minute minutes arcmin arcminute arcminutes",
        "q": "sec sec. second seconds arcsec arcsecond arcseconds",
        "g": "geojson geometry wkt kml easting eastings",
        "f": "is est are was be of about approximately approx approx. around roughly circa ca ca. near nearly "
        "equals equal the my its an a in at on as with estimated likely probably exactly decimal value values "
        "which would could it this here direction dir due equator greenwich prime meridian",
        "t": "to or through till until",
        "r": "between from range ranging ranges versus vs",
        "p": "coordinate coordinates coord coords gps location located position place guess answer estimate geo "
        "geotag geolocation prediction",
        "&": "and",
        "z": "interval intervals confidence confident score scores rating ratings rated probability probabilities "
        "chances accuracy ratio ratios version versions size width height scale price prices pixel pixels px "
        "bbox box error mean average sigma ci iou x y z xy km m cm mm ft feet miles meters metres kilometers "
        "kilometres percent points stars mp gb kg usd eur euro euros dollars highway route road exit "
        "interstate street avenue turbo temperature celsius fahrenheit c heights elevation elevations altitude "
        "altitudes population populations angle angles azimuth heading bearing pitch yaw",
    }.items()
    for word in words.split()
}
